//! Accounts of builds for people.

use std::fmt::Write as _;

use kiln_engine::explain::{Account, Cause, Explanation, Outcome, StepFacts, StepKind};

use super::cause::sentence;

/// Why the steps of a build ran.
pub(super) fn account(build: &str, account: &Account) -> String {
    let mut text = summary(build, account);
    let explanations = &account.explanations;
    for (index, explanation) in explanations.iter().enumerate() {
        let _ = writeln!(text, "{}", first_line(&explanation.name));
        let next = explanations.get(index + 1);
        // Steps with one and the same reason stand together.
        if next.is_none_or(|next| !is_one_block(explanation, next)) {
            text.push_str(&reasons(account, explanation));
        }
    }
    if account.facts.left_out > 0 {
        let _ = writeln!(
            text,
            "{} more steps are not recorded",
            account.facts.left_out
        );
    }
    text
}

fn summary(build: &str, account: &Account) -> String {
    let steps = account.facts.steps.iter();
    let steps: Vec<&StepFacts> = steps.filter(|step| step.kind != StepKind::Local).collect();
    let count = |wanted: fn(&StepFacts) -> bool| steps.iter().filter(|step| wanted(step)).count();
    let (ran, cached) = (
        count(StepFacts::is_miss),
        count(|step| step.outcome == Outcome::Cached),
    );
    let compared = match (ran, account.compared) {
        (0, _) => String::new(),
        (_, 0) => "; there is no earlier build to compare with".to_owned(),
        (_, 1) => "; compared with 1 earlier build".to_owned(),
        (_, many) => format!("; compared with {many} earlier builds"),
    };
    format!("build {build}: {ran} ran, {cached} cached{compared}\n")
}

fn is_one_block(one: &Explanation, other: &Explanation) -> bool {
    one.outcome == other.outcome && one.causes == other.causes && one.root == other.root
}

fn reasons(account: &Account, explanation: &Explanation) -> String {
    let name_of = |step: usize| {
        let step = account.facts.steps.get(step);
        step.map_or("", |step| first_line(&step.name)).to_owned()
    };
    let verb = match explanation.outcome {
        Outcome::Ran | Outcome::RanForLost => "ran",
        Outcome::Failed => "failed",
        _ => "is not as before",
    };
    let mut text = String::new();
    for (index, cause) in explanation.causes.iter().enumerate() {
        let head = if index == 0 { verb } else { "also" };
        let root = explanation.root.filter(|root| match cause {
            Cause::Follows { step } => step != root,
            _ => false,
        });
        let root = root.map(|root| format!(", which began with {}", name_of(root)));
        let _ = writeln!(
            text,
            "  {head}: {}{}",
            sentence(cause, &name_of),
            root.unwrap_or_default()
        );
    }
    text
}

/// Commands may have several lines.
fn first_line(name: &str) -> &str {
    name.lines().next().unwrap_or(name)
}
