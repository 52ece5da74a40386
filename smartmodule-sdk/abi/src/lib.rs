//! SmartModule ABI v1: the constants and layouts that host and guest share.
