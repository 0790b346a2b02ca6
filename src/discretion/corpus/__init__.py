"""Training data: chats, controlled pairs, the norm-teaching corpus, and checks of all of them."""
