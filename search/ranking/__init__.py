"""What rankings say: the class that neighbours vote for, and several rankings made one. Pure."""
