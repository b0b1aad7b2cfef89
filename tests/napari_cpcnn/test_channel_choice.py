"""Which layer shows which channel: guessed where names leave no doubt, and never over a choice."""

import pytest

from napari_cpcnn.embed.choices import NO_LAYER, ONE_LAYER, ChannelChoice


@pytest.fixture
def choice(qtbot):
    made = ChannelChoice()
    qtbot.addWidget(made)
    made.ask_for(("DNA", "ER", "Mito"))
    return made


def choose(choice, channel, layer):
    """As a user does: napari's boxes tell of it by `activated`."""
    box = choice.boxes[channel]
    box.setCurrentText(layer)
    box.activated.emit(box.currentIndex())


def test_layers_are_guessed_by_their_names(choice):
    choice.offer(["Brightfield", "w2ConA", "MitoTracker Deep Red", "IllumDNA", "OrigDNA"])
    assert choice.chosen() == ["OrigDNA", "w2ConA", "MitoTracker Deep Red"]


def test_a_second_field_makes_the_first_doubtful_but_for_what_was_chosen(choice):
    layers = ["DNA", "ER", "Mito"]
    choice.offer(layers)
    assert choice.chosen() == layers
    choose(choice, "ER", "ER")
    choice.offer([*layers, "DNA [1]", "ER [1]"])
    assert choice.chosen() == [NO_LAYER, "ER", "Mito"]
    choose(choice, "DNA", "DNA [1]")
    choice.offer([*layers, "DNA [1]", "ER [1]", "Mito [1]"])
    assert choice.chosen() == ["DNA [1]", "ER", NO_LAYER]


def test_a_layer_of_two_channels_is_neither(choice):
    choice.offer(["MitoER", "dapi"])
    assert choice.chosen() == ["dapi", NO_LAYER, NO_LAYER]


def test_one_layer_of_all_channels_is_the_first(choice):
    choice.ask_for((ONE_LAYER,))
    choice.offer(["stack", "DNA"])
    assert choice.chosen() == ["stack"]
