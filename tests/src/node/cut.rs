//! A network that swallows packets: nobody is told, no connection ends.

use anyhow::Result;

use super::Node;
use crate::process;

/// The rules of a cut, beside those of kube-proxy.
const TABLE: &str = "alcove-cut";

impl Node {
    /// From now on nothing that the node itself sends to a Pod arrives, be it the API server's or the kubelet's, and no answer.
    pub fn cut_off(&self, address: &str) -> Result<()> {
        let rules = format!(
            "table inet {TABLE} {{
                chain there {{ type filter hook output priority 0; ip daddr {address} drop; }}
                chain back {{ type filter hook input priority 0; ip saddr {address} drop; }}
            }}"
        );
        self.nft(&[&rules])
    }

    /// Ends what [`Node::cut_off`] began.
    pub fn reconnect(&self) -> Result<()> {
        self.nft(&["delete", "table", "inet", TABLE])
    }

    fn nft(&self, arguments: &[&str]) -> Result<()> {
        let mut command = self.network().command("nft");
        command.args(arguments);
        process::run(command).map(drop)
    }
}
