//! Finds the answers to what lowering asks.

use futures::future::try_join_all;
use kiln_dockerfile::{Answer, Known, Question};
use kiln_llb::{Definition, pb};

use crate::door::{Door, DoorError as _, SourceMeta};
use crate::failure::{Failure, within};

/// More rounds of questions than any build needs: contexts that name each
/// other end here.
pub(crate) const MAX_ROUNDS: usize = 100;

pub(crate) fn too_many_rounds() -> Failure {
    Failure::new("contexts refer to each other without end")
}

/// What is known so far, and why the rest is not.
pub(crate) struct Told<'a, D: Door> {
    door: &'a D,
    pub(crate) known: Known,
    /// What could not be resolved.
    failed: Vec<D::Error>,
}

impl<'a, D: Door> Told<'a, D> {
    pub(crate) fn new(door: &'a D, known: Known) -> Self {
        Self {
            door,
            known,
            failed: Vec::new(),
        }
    }

    /// Answers all questions, side by side.
    pub(crate) async fn ask(&mut self, questions: Vec<Question>) -> Result<(), D::Error> {
        let each = questions.iter().map(|question| answer(self.door, question));
        let answers = try_join_all(each).await?;
        for (question, answer) in questions.into_iter().zip(answers) {
            // What cannot be resolved is an answer too: lowering knows which line asked.
            let answer = answer.unwrap_or_else(|error| {
                let text = error.to_string();
                self.failed.push(error);
                Answer::Failed(text)
            });
            self.known.insert(question, answer);
        }
        Ok(())
    }

    /// The error that a failure is about, if it tells of one.
    pub(crate) fn error(mut self, failure: Failure) -> D::Error {
        let is_told = |error: &D::Error| failure.message.contains(&error.to_string());
        match self.failed.iter().position(is_told) {
            Some(index) => self.failed.swap_remove(index).told_as(failure),
            None => failure.into(),
        }
    }
}

/// Answers one question. An error inside is that of something which cannot be resolved.
async fn answer<D: Door>(
    door: &D,
    question: &Question,
) -> Result<Result<Answer, D::Error>, D::Error> {
    match question {
        Question::ImageConfig(image) => Ok(door.image_config(image).await.map(Answer::Config)),
        Question::OciLayoutConfig(layout) => {
            Ok(door.layout_config(layout).await.map(Answer::Config))
        }
        Question::ReadFile {
            definition,
            path,
            limit,
        } => {
            let definition = Definition::decode(definition.clone());
            let definition = definition.map_err(|error| Failure::wrap(&error))?;
            let file = async {
                let result = door.solve(&definition).await?;
                door.read_file(&result, path, *limit).await
            };
            match (file.await, limit) {
                (Ok(file), _) => Ok(Ok(Answer::File(file))),
                // Only of downloads is it enough to see how they begin.
                (Err(error), Some(_)) => Err(within("failed to read downloaded context", error)),
                (Err(error), None) => Err(error),
            }
        }
        Question::SourceTime {
            identifier,
            attrs,
            log_name,
        } => {
            let source = pb::SourceOp {
                identifier: identifier.clone(),
                attrs: attrs.clone(),
            };
            let meta = door.source_meta(&source, log_name).await;
            Ok(meta.map(|meta| time(&meta, identifier)))
        }
    }
}

/// When a source was changed last.
fn time(meta: &SourceMeta, identifier: &str) -> Answer {
    let time = match meta.commit.as_ref() {
        [] => meta.modified,
        commit => committed(commit),
    };
    match time {
        Some(_) => Answer::Time(time),
        None => Answer::Failed(format!(
            "the time of {identifier} is not known: nothing says when it was changed last; give SOURCE_DATE_EPOCH a number"
        )),
    }
}

/// When a commit was made, from its line `committer NAME <ADDRESS> SECONDS ZONE`.
fn committed(commit: &[u8]) -> Option<i64> {
    let mut lines = commit.split(|&byte| byte == b'\n');
    let line = lines
        .by_ref()
        .take_while(|line| !line.is_empty())
        .find_map(|line| line.strip_prefix(b"committer "))?;
    let line = String::from_utf8_lossy(line);
    let (_, time) = line.rsplit_once('>')?;
    time.split_whitespace().next()?.parse().ok()
}
