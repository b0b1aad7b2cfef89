"""How well profiles tell treatments apart, and from confounders."""
