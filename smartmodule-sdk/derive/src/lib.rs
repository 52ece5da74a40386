//! The macros of the SmartModule SDK.
