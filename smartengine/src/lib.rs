//! The host of SmartModules: compiles, bounds and runs WebAssembly guests over record batches.
