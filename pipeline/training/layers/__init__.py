"""How the layers of a model are run while it is trained: computed again in the backward, or compiled."""
