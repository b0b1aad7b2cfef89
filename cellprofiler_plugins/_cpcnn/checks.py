"""Checks before a run: find what would stop it or spoil its results."""

from cellprofiler_core.setting import ValidationError

from . import libraries, models, names
from .python_finder import find_python
from .sqlite_limit import sqlite_complaint
from .threads import checked_threads


def check(module, pipeline):
    """Raise a ValidationError with the setting that has to be changed."""
    # Before anything is asked of the worker.
    _checked(module.python, find_python, module.python.value)
    _check_names(module, pipeline)
    _checked(module.threads, checked_threads, module.threads.value)
    card = _checked(module.model, models.whole_card, module)
    expected, found = card["channels"], [group.name.value for group in module.channels]
    if expected != found:
        raise ValidationError(
            "%s takes %d channels (%s), this module was set up for %d (%s). Choose the model "
            "again to get its channels."
            % (card["name"], len(expected), ", ".join(expected), len(found), ", ".join(found)),
            module.model,
        )
    _check_left_out(module, card)
    to_accept = models.licence_question(module)
    if to_accept:
        raise ValidationError(
            "%s. When that suits your work, press the button below, or run: "
            "cpcnn models accept %s" % (to_accept[0].upper() + to_accept[1:], card["name"]),
            module.model,
        )
    _checked(module.um_per_px, models.um_per_px, module)
    if module.wants_library:
        _checked(module.library_file_name, libraries.describe, module)
    complaint = sqlite_complaint(pipeline)
    if complaint:
        raise ValidationError(complaint, module.model)


def warn(module):
    """Raise a ValidationError for what may be meant but rarely is."""
    chosen = {}
    for group in module.channels:
        if group.image.is_blank:
            continue
        if group.image.value in chosen:
            raise ValidationError(
                "%s is chosen for both %s and %s. The model expects a different image in each."
                % (group.image.value, chosen[group.image.value], group.name.value),
                group.image,
            )
        chosen[group.image.value] = group.name.value
    library = libraries.describe(module) if module.wants_library else None
    if library and not library["controls"]:
        raise ValidationError(
            "%s does not say which wells are negative controls, so nothing is compared with "
            "them. Make it again with: cpcnn profile --controls" % module.library_file_name.value,
            module.library_file_name,
        )
    if library and not library["has_p_values"]:
        raise ValidationError(
            "%s: %s" % (module.library_file_name.value, library["p_values"]),
            module.library_file_name,
        )


def plain(error):
    """Say in a user's words what CellProfiler says in its own."""
    if "No prior instances" in str(error):
        return "nothing before this module makes one; place it after the modules that do."
    return str(error)


def _check_left_out(module, card):
    left_out = [group for group in module.channels if group.image.is_blank]
    if left_out and card["channel_mode"] == "fixed":
        raise ValidationError(
            "%s takes all of its channels; select an image for %s, or a model that takes any "
            "channels." % (card["name"], ", ".join(group.name.value for group in left_out)),
            left_out[0].image,
        )
    if len(left_out) == len(module.channels):
        raise ValidationError("Select an image for one channel at least.", left_out[0].image)


def _check_names(module, pipeline):
    prefix = _prefix_or_none(module)
    if prefix is None:
        return  # the check of the model says why
    if not names.VALID_PREFIX.fullmatch(prefix):
        raise ValidationError(
            "Expected a letter, then letters or digits, at most 12 in all; got %r." % prefix,
            module.prefix,
        )
    for other in pipeline.modules():
        same = (
            other is not module
            and other.module_name == module.module_name
            and other.module_num < module.module_num
            and names.owner(other) == names.owner(module)
            and _prefix_or_none(other) == prefix
        )
        if same:
            raise ValidationError(
                "Module %d writes measurements of %s called %s already. Choose another name for "
                "those of this one." % (other.module_num, names.owner(module), prefix),
                module.prefix,
            )


def _prefix_or_none(module):
    try:
        return names.prefix(module)
    except RuntimeError:
        return None


def _checked(setting, look, *arguments):
    try:
        return look(*arguments)
    except RuntimeError as error:
        raise ValidationError(str(error), setting) from error
