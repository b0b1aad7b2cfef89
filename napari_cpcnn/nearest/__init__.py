"""The treatments that cells are most like."""
