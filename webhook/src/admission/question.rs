//! What a review asks of us, if anything.

use alcove_injection::pod::Pod;

use super::Record;
use crate::args::Webhook;
use crate::review::{Answer, Operation, Review, Status, Target};

/// A review that concerns us.
#[derive(Debug)]
pub(super) struct Question {
    pub uid: String,
    /// The Pod as it would be.
    pub pod: Pod,
    pub about: About,
    /// How many bytes it takes.
    pub size: usize,
}

/// What is asked about the Pod.
#[derive(Debug)]
pub(super) enum About {
    /// What becomes of it.
    Injection,
    /// Whether it may be made.
    Creation,
    /// Whether it may change so from what it was.
    Change(Pod),
}

impl Question {
    /// Takes a review apart, or answers it at once where nothing is to be judged.
    pub(super) fn of(webhook: Webhook, review: Review) -> Result<Self, Box<(Answer, Record)>> {
        let Review { uid, operation, target, namespace, object, old_object, size } = review;
        let pod = |document| Pod::new(document, &namespace).map_err(|problem| refused(&uid, problem.to_string()));
        let (document, old) = match (webhook, target, operation, object, old_object) {
            (_, Target::Pod, Operation::Create, Some(new), _) => (new, None),
            (Webhook::Validating, Target::Pod | Target::Subresource, Operation::Update, Some(new), Some(old)) => {
                (new, Some(old))
            }
            // Only the creation of a Pod is mutated, and nothing but Pods is judged.
            _ => return Err(Box::new((Answer::allowed(&uid), Record::unconcerned(&namespace)))),
        };
        let about = match (webhook, old) {
            (Webhook::Mutating, _) => About::Injection,
            (Webhook::Validating, None) => About::Creation,
            (Webhook::Validating, Some(old)) => About::Change(pod(old)?),
        };
        let pod = pod(document)?;
        Ok(Self { uid, pod, about, size })
    }

    pub(super) fn namespace(&self) -> &str {
        self.pod.namespace()
    }
}

fn refused(uid: &str, message: String) -> Box<(Answer, Record)> {
    Box::new((Answer::denied(uid, Status::BadRequest, message), Record::incomplete()))
}
