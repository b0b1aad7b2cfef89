"""The reference's downstream numbers are the inputs here."""

from ...downstream_numbers import arrays, inputs, scalars, wells  # noqa: F401
