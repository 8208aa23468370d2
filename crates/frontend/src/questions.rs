//! Finds the answers to what lowering asks.

use futures::future::try_join_all;
use kiln_dockerfile::{Answer, Known, Question, ResolvedConfig};
use kiln_llb::Definition;

use crate::door::Door;
use crate::failure::Failure;

/// More rounds of questions than any build needs: contexts that name each
/// other end here.
pub(crate) const MAX_ROUNDS: usize = 100;

pub(crate) fn too_many_rounds() -> Failure {
    Failure::new("contexts refer to each other without end")
}

/// Answers all questions, side by side.
pub(crate) async fn ask<D: Door>(
    door: &D,
    questions: Vec<Question>,
    known: &mut Known,
) -> Result<(), D::Error> {
    let answers = try_join_all(questions.iter().map(|question| answer(door, question))).await?;
    for (question, answer) in questions.into_iter().zip(answers) {
        known.insert(question, answer);
    }
    Ok(())
}

async fn answer<D: Door>(door: &D, question: &Question) -> Result<Answer, D::Error> {
    match question {
        Question::ImageConfig(image) => Ok(config_answer(door.image_config(image).await)),
        Question::OciLayoutConfig(layout) => Ok(config_answer(door.layout_config(layout).await)),
        Question::ReadFile {
            definition,
            path,
            limit,
        } => {
            let definition = Definition::decode(definition.clone());
            let definition = definition.map_err(|error| Failure::wrap(&error))?;
            let result = door.solve(&definition).await?;
            Ok(Answer::File(door.read_file(&result, path, *limit).await?))
        }
        Question::SourceTime { identifier, .. } => Ok(Answer::Failed(format!(
            "the time of {identifier} is not known: git and http sources are not supported yet"
        ))),
    }
}

/// What cannot be resolved is an answer too: lowering knows which line asked.
fn config_answer<E: std::fmt::Display>(resolved: Result<ResolvedConfig, E>) -> Answer {
    match resolved {
        Ok(config) => Answer::Config(config),
        Err(error) => Answer::Failed(error.to_string()),
    }
}
