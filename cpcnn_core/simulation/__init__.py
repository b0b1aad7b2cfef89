"""A virtual screen: plates of five-channel cells whose causes are known."""
