//! A ServiceAccount beside policies that select by label.

use super::{Namespace, ServiceAccount};
use alcove_contract::Problem;
use alcove_resources::ObjectName;

/// A ServiceAccount as far as the catalog knows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Account<'a> {
    pub(crate) name: &'a str,
    pub(crate) known: Option<&'a ServiceAccount>,
}

/// The problem of a policy of which it cannot be told whether it concerns a ServiceAccount.
pub(crate) fn unlabelled(
    Account { name, known }: Account<'_>,
    namespace: Namespace<'_>,
    object: &ObjectName,
) -> Problem {
    let (reason, remedy) = match known {
        None => ("are not known yet".to_owned(), "apply again"),
        Some(_) => (
            format!(
                "are left out, since the objects in namespace \"{}\" that Alcove keeps are too large together",
                namespace.name
            ),
            "delete some of them, or make them smaller",
        ),
    };
    let reason = format!("selects ServiceAccounts by label, and the labels of ServiceAccount \"{name}\" {reason}");
    Problem::new(object.to_string(), reason).with_remedy(remedy)
}
