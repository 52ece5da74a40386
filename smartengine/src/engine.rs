//! The engine: loads modules, opens chains, and owns the guest threads.

use std::num::NonZero;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use wasmer::sys::{CompilerConfig, CpuFeature, Cranelift, Features, NativeEngineExt, Target};

use crate::chain::Chain;
use crate::compile_limit::{self, StopWhenLate};
use crate::compile_thread::compile_aside;
use crate::compiled_cache::{CompiledFiles, LoadedModules, hash};
use crate::deadline::Deadlines;
use crate::guarded_module::{self, guarded};
use crate::guest::GuestHost;
use crate::guest_memory::SharedMemory;
use crate::guest_pool::{GuestDriver, GuestPool, Lane};
use crate::{Busy, CallLimits, ChainError, ChainOptions, LoadError, SmartModule};
use thalweg_smartmodule_inspect::{MODULE_BYTES_MAX, check_code, check_sections};

/// A module that compiles longer than this was made to.
const COMPILE_LIMIT: Duration = Duration::from_secs(20);

/// How long a module waits for another to be compiled. Together with the compilation it is less than
/// clients wait for an answer, so that they read why they have none.
const COMPILE_WAIT: Duration = Duration::from_secs(5);

/// How a [`SmartEngine`] is set up.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// Where compiled modules are kept between runs; `None` keeps them in memory alone.
    pub cache_dir: Option<PathBuf>,
    /// How many threads run guests. Default: one per processor.
    pub guest_threads: usize,
    /// The largest bounds that a chain may be opened with, and those of one that asks for none.
    pub limits: CallLimits,
    /// How large the linear memories of all instances may be together, in bytes.
    /// Default: 1 GiB.
    pub shared_memory_bytes: u64,
    /// The largest module that is taken, in bytes. Default: 8 MiB.
    pub module_bytes_max: usize,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            cache_dir: None,
            guest_threads: std::thread::available_parallelism().map_or(1, usize::from),
            limits: CallLimits::default(),
            shared_memory_bytes: 1 << 30,
            module_bytes_max: MODULE_BYTES_MAX,
        }
    }
}

/// Why an engine does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// A thread could not be started.
    #[error("failed to start the guest threads")]
    Threads(#[source] std::io::Error),
    /// The directory for compiled modules cannot be used.
    #[error("failed to create the directory `{path}` for compiled SmartModules")]
    CacheDir {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Loads and runs SmartModules. Clones share everything.
#[derive(Clone)]
pub struct SmartEngine {
    shared: Arc<Shared>,
}

struct Shared {
    host: Arc<GuestHost>,
    pool: GuestPool,
    loaded: LoadedModules,
    is_compiling: Mutex<bool>,
    /// The compiler is free again.
    compiled: Condvar,
    files: Option<CompiledFiles>,
    options: EngineOptions,
}

/// The compiler is somebody's as long as this lives.
struct CompileTurn<'a>(&'a Shared);

impl Drop for CompileTurn<'_> {
    fn drop(&mut self) {
        let is_taken = self.0.is_compiling.lock();
        *is_taken.unwrap_or_else(PoisonError::into_inner) = false;
        self.0.compiled.notify_one();
    }
}

impl std::fmt::Debug for SmartEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SmartEngine")
            .field("options", &self.shared.options)
            .finish_non_exhaustive()
    }
}

impl SmartEngine {
    /// Starts an engine: its guest threads and the thread that watches their deadlines. They end
    /// when the last clone is dropped.
    ///
    /// # Errors
    ///
    /// When a thread or the cache directory cannot be had.
    pub fn new(options: EngineOptions) -> Result<Self, EngineError> {
        let deadlines = Deadlines::start().map_err(EngineError::Threads)?;
        let pool = GuestPool::start(options.guest_threads).map_err(EngineError::Threads)?;
        Self::with(options, deadlines, pool)
    }

    /// An engine that runs no guest by itself: `driver` has all jobs run. Nobody stops a guest that runs on, since
    /// time may stand still for whoever runs it.
    ///
    /// # Errors
    ///
    /// When a thread or the cache directory cannot be had.
    pub fn driven(
        options: EngineOptions,
        driver: Arc<dyn GuestDriver>,
    ) -> Result<Self, EngineError> {
        Self::with(options, Deadlines::unwatched(), GuestPool::driven(driver))
    }

    fn with(
        options: EngineOptions,
        deadlines: Deadlines,
        pool: GuestPool,
    ) -> Result<Self, EngineError> {
        let compiler = compiler();
        let files = options
            .cache_dir
            .clone()
            .map(|path| {
                CompiledFiles::open(path.clone(), engine_id(&compiler))
                    .map_err(|source| EngineError::CacheDir { path, source })
            })
            .transpose()?;
        let memory = SharedMemory::start(options.shared_memory_bytes);
        Ok(Self {
            shared: Arc::new(Shared {
                host: Arc::new(GuestHost {
                    compiler,
                    deadlines: Arc::new(deadlines),
                    memory: memory.map_err(EngineError::Threads)?,
                }),
                pool,
                loaded: LoadedModules::default(),
                is_compiling: Mutex::new(false),
                compiled: Condvar::new(),
                files,
                options,
            }),
        })
    }

    /// Validates and compiles a module, once per content. Takes milliseconds to seconds when the
    /// module is new, so not for a network thread.
    ///
    /// # Errors
    ///
    /// Says what is wrong with the module and what to do about it.
    pub fn load(&self, wasm: &[u8]) -> Result<Arc<SmartModule>, LoadError> {
        let limit_bytes = self.shared.options.module_bytes_max;
        if wasm.len() > limit_bytes {
            return Err(LoadError::TooLarge {
                module_bytes: wasm.len(),
                limit_bytes,
            });
        }
        let sha256 = hash(wasm);
        if let Some(loaded) = self.shared.loaded.get(sha256) {
            return loaded;
        }
        let _compiling = self.shared.pool.compiling();
        let _turn = self.shared.turn_to_compile()?;
        self.shared
            .loaded
            .get_or_load(sha256, || self.shared.load_new(wasm, sha256))
    }

    /// Instantiates the steps and runs their `init` with their parameters. Runs guest code, so
    /// not for a network thread: see [`Lane::run`].
    ///
    /// # Errors
    ///
    /// When the steps do not make a chain, or a guest does not start.
    pub fn open_chain(&self, options: ChainOptions) -> Result<Chain, ChainError> {
        let limits = options.limits.within(&self.shared.options.limits);
        Chain::open(&self.shared.host, ChainOptions { limits, ..options })
    }

    /// A place in the queue for the guest threads; one per stream.
    #[must_use]
    pub fn lane(&self) -> Lane {
        self.shared.pool.lane()
    }

    /// Runs `job` on a guest thread in a lane of its own; for work that belongs to no stream.
    ///
    /// # Errors
    ///
    /// [`Busy`] when too many jobs wait.
    pub fn run(&self, job: Box<dyn FnOnce() + Send>) -> Result<(), Busy> {
        self.lane().run(job)
    }
}

impl Shared {
    /// Waits for the compiler. One compiles after the other: each may take as much memory as the
    /// compiler likes, and the next module may be the same one.
    fn turn_to_compile(&self) -> Result<CompileTurn<'_>, LoadError> {
        let is_taken = self.is_compiling.lock();
        let is_taken = is_taken.unwrap_or_else(PoisonError::into_inner);
        let (mut is_taken, _) = self
            .compiled
            .wait_timeout_while(is_taken, COMPILE_WAIT, |is_taken| *is_taken)
            .unwrap_or_else(PoisonError::into_inner);
        if *is_taken {
            return Err(LoadError::Busy);
        }
        *is_taken = true;
        Ok(CompileTurn(self))
    }

    fn load_new(&self, wasm: &[u8], sha256: [u8; 32]) -> Result<Arc<SmartModule>, LoadError> {
        let shape = check_sections(wasm)?;
        let limit_bytes = self.options.limits.memory_bytes;
        if shape.memory_bytes > limit_bytes {
            return Err(LoadError::MemoryTooLarge {
                memory_bytes: shape.memory_bytes,
                limit_bytes,
            });
        }
        let compiled = match self.read_compiled(&sha256) {
            Some(compiled) => compiled,
            None => self.compile(wasm, &sha256)?,
        };
        let name = compiled.name().map(ToOwned::to_owned);
        Ok(Arc::new(SmartModule::new(compiled, &shape, sha256, name)))
    }

    fn read_compiled(&self, sha256: &[u8; 32]) -> Option<wasmer::Module> {
        let compiled = self.files.as_ref()?.read(sha256)?;
        // SAFETY: the bytes were made by this engine's version for this machine and have not
        // changed since: `CompiledFiles::read` checked the engine's identity and their hash.
        match unsafe { wasmer::Module::deserialize(&self.host.compiler, compiled) } {
            Ok(module) => Some(module),
            Err(error) => {
                tracing::warn!(%error, "failed to load a compiled SmartModule, compiling it again");
                None
            }
        }
    }

    fn compile(&self, wasm: &[u8], sha256: &[u8; 32]) -> Result<wasmer::Module, LoadError> {
        check_code(wasm)?;
        let guarded = guarded(wasm)?;
        let compiler = &self.host.compiler;
        let compiled = compile_aside(|| {
            compiler
                .new_module_with_progress(&guarded, compile_limit::at_most(COMPILE_LIMIT))
                .map_err(|error| LoadError::Compile {
                    reason: error.to_string(),
                })
        })?;
        if let Some(files) = &self.files {
            match compiled.serialize() {
                Ok(bytes) => files.write(sha256, &bytes),
                Err(error) => {
                    tracing::warn!(%error, "failed to serialize a compiled SmartModule");
                }
            }
        }
        Ok(compiled)
    }
}

fn compiler() -> wasmer::Engine {
    let mut features = Features::new();
    features.threads(false).multi_memory(false);
    let mut cranelift = Cranelift::new();
    cranelift.push_middleware(Arc::new(StopWhenLate));
    // All processors: `compile_aside` sees to it that others come first.
    let workers = std::thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN);
    cranelift.num_threads(workers);
    let cranelift: Box<dyn CompilerConfig> = Box::new(cranelift);
    wasmer::Engine::new(cranelift, Target::default(), features)
}

/// What compiled code depends on: it is never run under another identity.
fn engine_id(compiler: &wasmer::Engine) -> String {
    format!(
        "guards {} wasmer {} {} {} {:?}",
        guarded_module::VERSION,
        wasmer_types::VERSION,
        compiler.deterministic_id(),
        Target::default().triple(),
        CpuFeature::for_host(),
    )
}
