//! Prepares the clients: installs what a registry has, builds what we wrote.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A client that is ready to run.
#[derive(Debug, Clone)]
pub struct ClientProgram {
    program: PathBuf,
    arguments: Vec<String>,
}

/// A client that can't be had on this machine, and why.
#[derive(Debug)]
pub struct Unavailable(String);

impl ClientProgram {
    /// The command that runs it.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments);
        command
    }

    /// Runs it with more arguments and no standard input.
    ///
    /// # Panics
    /// When it can't be started or fails: with all that it printed.
    pub fn run(&self, arguments: &[&str]) -> String {
        self.run_with_input(arguments, "")
    }

    /// Runs it with more arguments and a text on its standard input.
    ///
    /// # Panics
    /// When it can't be started or fails: with all that it printed.
    pub fn run_with_input(&self, arguments: &[&str], input: &str) -> String {
        let output = self.output(arguments, input);
        assert!(
            output.status.success(),
            "{} {arguments:?} failed ({}):\n{}\n{}",
            self.program.display(),
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn output(&self, arguments: &[&str], input: &str) -> Output {
        use std::io::Write;
        let mut child = self
            .command()
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{} can't run: {error}", self.program.display()));
        let mut stdin = child.stdin.take().expect("stdin is piped");
        std::thread::scope(|scope| {
            scope.spawn(move || {
                // A program that ends before it has read everything is judged by its exit code.
                let _ = stdin.write_all(input.as_bytes());
            });
            child
                .wait_with_output()
                .expect("a child's output can be read")
        })
    }

    /// The same program with more arguments in front of all others.
    #[must_use]
    pub fn with(&self, arguments: &[&str]) -> Self {
        let mut program = self.clone();
        program
            .arguments
            .extend(arguments.iter().map(|argument| (*argument).to_owned()));
        program
    }
}

impl Unavailable {
    pub(crate) fn because(reason: String) -> Self {
        Self(reason)
    }

    /// Says that a test is skipped.
    ///
    /// # Panics
    /// In CI, where nothing may be skipped.
    pub fn skip(&self) {
        assert!(
            std::env::var_os("CI").is_none(),
            "nothing may be skipped in CI: {}",
            self.0
        );
        eprintln!("skipped: {}", self.0);
    }
}

/// `kcat`, librdkafka's command line.
///
/// # Errors
/// When it is not installed.
pub fn kcat() -> Result<ClientProgram, Unavailable> {
    run("kcat", Command::new("kcat").arg("-V"))?;
    Ok(ClientProgram {
        program: "kcat".into(),
        arguments: Vec::new(),
    })
}

/// librdkafka through confluent-kafka for Python.
///
/// # Errors
/// When there is no Python, or the package can't be installed.
pub fn librdkafka() -> Result<ClientProgram, Unavailable> {
    python("check.py", &["confluent-kafka==2.16.1"])
}

/// A member of a group through librdkafka, kafka-python and aiokafka; which of them is still to be
/// named.
///
/// # Errors
/// When there is no Python, or a package can't be installed.
pub fn python_members() -> Result<ClientProgram, Unavailable> {
    let packages = [
        "confluent-kafka==2.16.1",
        "kafka-python==2.3.0",
        "aiokafka==0.12.0",
    ];
    python("group_member.py", &packages)
}

fn python(script: &str, packages: &[&str]) -> Result<ClientProgram, Unavailable> {
    let _alone = one_at_a_time();
    let folder = workshop("python")?;
    let python = folder.join("bin/python");
    if !python.exists() {
        run(
            "python3 -m venv",
            Command::new("python3").args(["-m", "venv"]).arg(&folder),
        )?;
    }
    run(
        "pip install",
        Command::new(&python)
            .args(["-m", "pip", "install", "--quiet"])
            .args(packages),
    )?;
    let script = source("python").join(script);
    Ok(ClientProgram {
        program: python,
        arguments: vec![script.display().to_string()],
    })
}

/// Java with Apache Kafka's clients and tools on its class path; a class is still to be named
/// (`Check` and `GroupMember` are ours).
///
/// # Errors
/// When there is no JDK or Maven, or the jars can't be fetched.
pub fn java() -> Result<ClientProgram, Unavailable> {
    let _alone = one_at_a_time();
    let folder = workshop("java")?;
    let jars = folder.join("jars");
    if !jars.exists() {
        // Fetched beside and then renamed, so that a run that was cut off leaves nothing half done.
        let fetched = folder.join("jars.partial");
        let fetch = [
            "--quiet".to_owned(),
            "--batch-mode".to_owned(),
            format!("--file={}", source("java/pom.xml").display()),
            "dependency:copy-dependencies".to_owned(),
            format!("-DoutputDirectory={}", fetched.display()),
        ];
        run(
            "mvn dependency:copy-dependencies",
            Command::new("mvn").args(fetch),
        )?;
        std::fs::rename(&fetched, &jars)
            .map_err(|error| Unavailable(format!("the jars can't be kept: {error}")))?;
    }
    let class_path = format!("{}/*:{}", jars.display(), folder.display());
    let compile = ["-cp", &class_path, "-d"];
    run(
        "javac",
        Command::new("javac")
            .args(compile)
            .arg(&folder)
            .arg(source("java/Check.java"))
            .arg(source("java/GroupMember.java")),
    )?;
    Ok(ClientProgram {
        program: "java".into(),
        arguments: vec!["-cp".to_owned(), class_path],
    })
}

/// franz-go, in a program of ours.
///
/// # Errors
/// When there is no Go, or its modules can't be fetched.
pub fn franz_go() -> Result<ClientProgram, Unavailable> {
    let _alone = one_at_a_time();
    let program = workshop("go")?.join("franz-go");
    run(
        "go build",
        Command::new("go")
            .current_dir(source("franz-go"))
            .args(["build", "-o"])
            .arg(&program)
            .arg("."),
    )?;
    Ok(ClientProgram {
        program,
        arguments: Vec::new(),
    })
}

/// Tests run side by side, and two of them use Java.
pub(crate) fn one_at_a_time() -> MutexGuard<'static, ()> {
    static PREPARING: Mutex<()> = Mutex::new(());
    // A test that failed while it prepared left nothing that the next can't do again.
    PREPARING.lock().unwrap_or_else(PoisonError::into_inner)
}

fn source(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("clients")
        .join(path)
}

/// A folder under `target/compat` where a toolchain leaves what it makes.
pub(crate) fn workshop(name: &str) -> Result<PathBuf, Unavailable> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../target/compat")
        .join(name);
    std::fs::create_dir_all(&folder)
        .and_then(|()| folder.canonicalize())
        .map_err(|error| Unavailable(format!("{} can't be made: {error}", folder.display())))
}

pub(crate) fn run(what: &str, command: &mut Command) -> Result<(), Unavailable> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| Unavailable(format!("`{what}` is not to be had here: {error}")))?;
    if output.status.success() {
        Ok(())
    } else {
        Err(Unavailable(format!(
            "`{what}` failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        )))
    }
}
