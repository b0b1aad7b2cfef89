"""The main job on real images that an installed package brings along."""
