//! Makes the requests that a runner's modules ask for, and has the answers written down before anybody sees them.
//!
//! A request may be made more than once (it was made, and the SPU was lost before the answer was in the changelog): it says
//! the same `Idempotency-Key` each time. Its answer counts once.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use reqwest::header::HeaderValue;
use thalweg_record::{BatchBuilder, BatchOptions, BuildError};
use thalweg_runtime::{Backoff, BackoffOptions, Clock};
use thalweg_types::{HttpCapability, ProducerEpoch, TopicPartition, TransformRunState};

use super::answers::{Answers, Asked, CallId, failure};
use super::http_client::{Answer, HttpClient, NoAnswer};
use super::http_request::HttpRequest;
use super::leaders::{LeaderError, Leaders};
use super::plan::RunnerPlan;
use super::reporter::Reporter;
use super::runner::Shared;
use crate::replica::Acks;

/// The pauses between attempts.
const RETRIES: BackoffOptions = BackoffOptions {
    initial: Duration::from_millis(100),
    max: Duration::from_secs(5),
};
/// The longest pause that an answer may ask for before the next attempt.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(30);
/// How large answers become together before they are written down, in bytes.
const ANSWERS_BYTES: usize = 32 << 20;
/// How large a batch of them becomes, in bytes.
const BATCH_BYTES: usize = 4 << 20;
/// What says that two requests are the same one.
const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// The longest secret, in bytes.
const SECRET_BYTES_MAX: u64 = 64 << 10;

/// Makes the calls of one reign.
pub(super) struct Caller {
    http: HttpCapability,
    client: Arc<HttpClient>,
    secrets_dir: Option<PathBuf>,
    leaders: Arc<Leaders>,
    reporter: Arc<Reporter>,
    log: AnswerLog,
    /// What each call's `Idempotency-Key` begins with.
    identity: String,
    /// The steps that are not to go on without an answer.
    stopping: Vec<String>,
    clock: Arc<dyn Clock>,
    pub(super) answers: Arc<Answers>,
}

/// Where answers are written down.
pub(super) struct AnswerLog {
    pub(super) changelog: TopicPartition,
    /// That of the reign.
    pub(super) epoch: ProducerEpoch,
}

/// Why calls are not answered, which may be otherwise later.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotAnswered {
    #[error("a request of `{step}` for the record at offset {offset} has no answer: {reason}")]
    Unreachable {
        step: String,
        offset: i64,
        reason: String,
    },
    #[error("{0}")]
    Secret(String),
    #[error("the answers to requests can't be written down: {0}")]
    Leader(#[from] LeaderError),
    #[error("an answer makes no batch")]
    Batch(#[from] BuildError),
}

impl Caller {
    /// For a reign; `stopping` are the steps that stop at a record that they
    /// fail on.
    pub(super) fn new(
        shared: &Shared,
        plan: &RunnerPlan,
        reporter: &Arc<Reporter>,
        answers: Arc<Answers>,
        log: AnswerLog,
        stopping: Vec<String>,
    ) -> Option<Self> {
        let http = plan.transform.spec.capabilities.http.clone()?;
        Some(Self {
            http,
            client: Arc::clone(&shared.http),
            secrets_dir: shared.context.options.secrets_dir.clone(),
            leaders: Arc::clone(&shared.leaders),
            reporter: Arc::clone(reporter),
            log,
            identity: format!("thalweg-{}-{}", plan.key.number, plan.key.partition),
            stopping,
            clock: Arc::clone(&shared.context.clock),
            answers,
        })
    }

    /// Answers all that is asked.
    pub(super) async fn answer_all(&self) -> Result<(), NotAnswered> {
        let asked = self.answers.asked();
        if asked.is_empty() {
            return Ok(());
        }
        let concurrency = usize::try_from(self.http.concurrency).unwrap_or(1);
        let mut waiting = asked.into_iter();
        let mut calls = FuturesUnordered::new();
        let (mut answers, mut answers_bytes, mut failed) = (Vec::new(), 0, None);
        loop {
            while calls.len() < concurrency && failed.is_none() && answers_bytes < ANSWERS_BYTES {
                let Some(next) = waiting.next() else { break };
                calls.push(self.answer(next));
            }
            match calls.next().await {
                None => break,
                Some(Ok((id, answer))) => {
                    answers_bytes += answer.len();
                    answers.push((id, answer));
                }
                // Those that are on their way may still come.
                Some(Err(error)) => failed = Some(error),
            }
        }
        // What was answered need not be asked again.
        self.write_down(&answers).await?;
        self.answers.answered(self.log.epoch.0, answers);
        match failed {
            None => {
                self.reporter.state(TransformRunState::Running, "");
                Ok(())
            }
            Some(error) => Err(error),
        }
    }

    async fn answer(&self, asked: Asked) -> Result<(CallId, Arc<[u8]>), NotAnswered> {
        let Asked { id, step, request } = asked;
        let mut backoff = Backoff::new(RETRIES);
        let mut attempts_left = self.http.retries;
        loop {
            let made = self.attempt(id, &request).await?;
            let retry_after = match &made {
                Ok(answer) if !answer.asks_for_another() => return Ok((id, answer.text.clone())),
                Ok(answer) => answer.retry_after,
                Err(NoAnswer::Final(reason)) => return Ok((id, failure(reason).into())),
                Err(NoAnswer::Transient(_)) => None,
            };
            if attempts_left == 0 {
                return match made {
                    Ok(answer) => Ok((id, answer.text)),
                    Err(error) if self.stopping.contains(&step) => Err(NotAnswered::Unreachable {
                        step,
                        offset: id.offset.0,
                        reason: error.to_string(),
                    }),
                    Err(error) => Ok((id, failure(&error.to_string()).into())),
                };
            }
            attempts_left -= 1;
            if let Err(error) = &made {
                let reason = format!("a request is tried again: {error}");
                self.reporter.state(TransformRunState::Waiting, &reason);
            }
            let pause = backoff.next_delay();
            let asked_for = retry_after.unwrap_or_default().min(RETRY_AFTER_MAX);
            tokio::time::sleep(pause.max(asked_for)).await;
        }
    }

    async fn attempt(
        &self,
        id: CallId,
        request: &HttpRequest,
    ) -> Result<Result<Answer, NoAnswer>, NotAnswered> {
        let mut secrets = Vec::new();
        for name in request.secrets() {
            secrets.push((name.to_owned(), self.secret(name).await?));
        }
        let value_of = |name: &str| {
            let mut known = secrets.iter();
            Some(known.find(|(known, _)| known == name)?.1.clone())
        };
        let headers = request.headers(value_of);
        let mut headers = headers.ok_or_else(|| {
            let reason =
                "a secret has a line break or the like in it, so that it can't be in a header";
            NotAnswered::Secret(reason.to_owned())
        })?;
        if !headers.contains_key(IDEMPOTENCY_KEY) {
            let key = format!("{}-{}", self.identity, id.idempotency_suffix());
            if let Ok(key) = HeaderValue::from_str(&key) {
                headers.insert(IDEMPOTENCY_KEY, key);
            }
        }
        let timeout = Duration::from_millis(self.http.timeout_ms);
        Ok(self.client.call(request, headers, timeout).await)
    }

    /// Read for each request, so that one that is replaced counts at once.
    async fn secret(&self, name: &str) -> Result<String, NotAnswered> {
        let Some(folder) = &self.secrets_dir else {
            return Err(NotAnswered::Secret(format!(
                "this SPU knows no secrets, and `{name}` is asked for: start it with `--secrets-dir DIR`"
            )));
        };
        let path = folder.join(name);
        let told = |reason: String| {
            let path = path.display();
            NotAnswered::Secret(format!(
                "the secret `{name}` can't be read from {path}: {reason}"
            ))
        };
        let facts = tokio::fs::metadata(&path).await;
        let facts = facts.map_err(|error| told(error.to_string()))?;
        if !facts.is_file() || facts.len() > SECRET_BYTES_MAX {
            return Err(told("it is no file of at most 64 KiB".to_owned()));
        }
        let text = tokio::fs::read_to_string(&path).await;
        let text = text.map_err(|error| told(error.to_string()))?;
        Ok(text.trim_end_matches(['\r', '\n']).to_owned())
    }

    /// Returns once every in-sync replica of the changelog has the answers.
    async fn write_down(&self, answers: &[(CallId, Arc<[u8]>)]) -> Result<(), NotAnswered> {
        let now_ms = self.clock.now_ms();
        let mut left = answers.iter().peekable();
        while left.peek().is_some() {
            let mut batch = BatchBuilder::new(BatchOptions::default());
            while let Some((id, answer)) = left.next_if(|_| batch.size_bytes() < BATCH_BYTES) {
                let key = id.entry_key(self.log.epoch.0);
                batch.push(now_ms, Some(&key), Some(answer), &[])?;
            }
            let batch = Bytes::from(batch.build()?);
            let append = self
                .leaders
                .append_internal(&self.log.changelog, batch, Acks::All);
            append.await?;
        }
        Ok(())
    }
}
