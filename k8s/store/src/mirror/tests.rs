//! What the mirror makes of what it hears.
