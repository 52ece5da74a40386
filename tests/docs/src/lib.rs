//! Runs the commands that README and the guides show, and decodes the examples of the format pages.
