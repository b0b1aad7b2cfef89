"""A whole screen: which sites are to be done, do them, put them together by plate."""
