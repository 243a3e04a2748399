"""How the accounts library (django-allauth) fits this house: people are invited or made by operators, never sign up."""
