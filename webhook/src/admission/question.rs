//! What a review asks of us, if anything.

use alcove_injection::pod::Pod;
use alcove_resources::Object;

use super::Record;
use crate::args::Webhook;
use crate::review::{Answer, Operation, Review, Status, Target};

/// A review that concerns us.
#[derive(Debug)]
pub(super) struct Question {
    pub uid: String,
    pub namespace: String,
    pub about: About,
    /// Whether nothing is to be stored, whatever the answer is.
    dry_run: bool,
    /// How many bytes it takes.
    pub size: usize,
}

/// What is asked.
#[derive(Debug)]
pub(super) enum About {
    /// What becomes of a Pod.
    Injection(Pod),
    /// Whether a Pod may be made.
    Creation(Pod),
    /// Whether a Pod may change so.
    Change {
        /// What it was.
        old: Pod,
        /// What it would be.
        new: Pod,
    },
    /// Whether a store may say what it says.
    Store(Box<Object>),
}

impl Question {
    /// Takes a review apart, or answers it at once where nothing is to be judged.
    pub(super) fn of(webhook: Webhook, review: Review) -> Result<Self, Box<(Answer, Record)>> {
        let Review { uid, operation, target, namespace, object, old_object, dry_run, size } = review;
        let pod = |document| Pod::new(document, &namespace).map_err(|problem| refused(&uid, problem.to_string()));
        let about = match (webhook, target, operation, object, old_object) {
            (Webhook::Mutating, Target::Pod, Operation::Create, Some(new), _) => About::Injection(pod(new)?),
            (Webhook::Validating, Target::Pod, Operation::Create, Some(new), _) => About::Creation(pod(new)?),
            (Webhook::Validating, Target::Pod | Target::Subresource, Operation::Update, Some(new), Some(old)) => {
                About::Change { old: pod(old)?, new: pod(new)? }
            }
            (Webhook::Validating, Target::Store, Operation::Create | Operation::Update, Some(store), _) => {
                match Object::from_value(&store) {
                    Ok(Some(store)) => About::Store(Box::new(store)),
                    Ok(None) => return Err(unconcerned(&uid, &namespace)),
                    Err(problem) => return Err(refused(&uid, problem.to_string())),
                }
            }
            // Only the creation of a Pod is mutated, and nothing but Pods and stores is judged.
            _ => return Err(unconcerned(&uid, &namespace)),
        };
        Ok(Self { uid, namespace, about, dry_run, size })
    }

    /// The Pod that is to be made, unless it is only tried.
    pub(super) fn creation(&self) -> Option<&Pod> {
        match &self.about {
            About::Injection(pod) | About::Creation(pod) if !self.dry_run => Some(pod),
            _ => None,
        }
    }
}

fn unconcerned(uid: &str, namespace: &str) -> Box<(Answer, Record)> {
    Box::new((Answer::allowed(uid), Record::unconcerned(namespace)))
}

fn refused(uid: &str, message: String) -> Box<(Answer, Record)> {
    Box::new((Answer::denied(uid, Status::BadRequest, message), Record::incomplete()))
}
