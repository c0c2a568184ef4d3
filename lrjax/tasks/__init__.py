"""What is trained, one file per problem."""
