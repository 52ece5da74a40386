//! The gRPC conversations (admin, control): generated code and its conversion to and from the vocabulary.
