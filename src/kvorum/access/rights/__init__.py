"""Who has which privilege where, by pure evaluation of user.cfg."""
