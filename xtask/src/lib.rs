//! Everything behind the README's commands.
