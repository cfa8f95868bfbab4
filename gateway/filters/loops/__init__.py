"""How an answer that runs in circles is known: text outside of code and tables (`prose`) that repeats (`periods`)."""
