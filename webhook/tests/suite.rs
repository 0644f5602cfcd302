//! The program as API servers and people meet it: a real process, real TLS, real signals.

#[cfg(test)]
mod suite {
    pub(crate) mod certificates;
    pub(crate) mod command;
    pub(crate) mod drain;
    pub(crate) mod hostile;
    pub(crate) mod process;
    pub(crate) mod protocol;
    pub(crate) mod reviews;
}
