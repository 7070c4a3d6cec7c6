"""The head fitted to a photo, which is then seen under other lights and with other expressions."""
