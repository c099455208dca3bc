"""Evidence: what customers and sign-ups tell, in the form in which two of them are compared."""
