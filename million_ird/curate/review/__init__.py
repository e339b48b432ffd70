"""`mird review`: a page on this machine that asks for a verdict on the pictures around a threshold."""
