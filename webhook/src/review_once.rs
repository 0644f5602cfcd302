//! The command `review`: one AdmissionReview in, one out, as `serve` would answer it.

use std::io::{Read, Write};

use anyhow::{Context as _, bail};

use crate::admission::{Admission, Turns};
use crate::args::{ReviewArgs, Webhook};
use crate::files;
use crate::review::{Answer, Malformed, Operation, Review, Status};
use crate::server::LONGEST_BODY;

/// Answers the review that `input` holds. A refusal is an answer.
///
/// # Errors
///
/// The objects or the review cannot be read, or the answer cannot be written.
pub async fn run(arguments: &ReviewArgs, input: &mut impl Read, output: &mut impl Write) -> anyhow::Result<()> {
    let view = files::load(&arguments.resources).context("the objects are not in order")?;
    let admission = Admission::from_files(view, arguments.settings.settings());
    let answer = match Review::parse(&read(input)?) {
        Ok(review) => {
            let webhook = arguments.webhook.unwrap_or_else(|| webhook(&review));
            admission.review(webhook, review, &Turns::of(1)).await?.0
        }
        Err(Malformed::Incomplete { uid, what }) => Answer::denied(&uid, Status::BadRequest, what.to_string()),
        Err(malformed) => return Err(malformed).context("standard input holds no review"),
    };
    let text = serde_json::to_string_pretty(&answer.into_document())?;
    writeln!(output, "{text}").context("the answer could not be written")
}

fn webhook(review: &Review) -> Webhook {
    if review.operation == Operation::Create { Webhook::Mutating } else { Webhook::Validating }
}

fn read(input: &mut impl Read) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(LONGEST_BODY).unwrap_or(u64::MAX);
    input.take(limit.saturating_add(1)).read_to_end(&mut bytes).context("standard input could not be read")?;
    if bytes.len() > LONGEST_BODY {
        bail!("the review on standard input is longer than {LONGEST_BODY} bytes");
    }
    Ok(bytes)
}
