//! How much memory what is kept takes: whoever may write objects could otherwise take all there is.
//!
//! It is counted from what has been made and not from what was written: a short text can become much, such as a map of its
//! own for one option. What is counted is at least what is allocated; a test of the webhook compares the two.

use crate::catalog::{Limit, LimitRange, ServiceAccount};
use alcove_contract::binding::{Binding, Entry, SecretType};
use alcove_contract::name::{FileName, StoreName};
use alcove_contract::quantity::Quantity;
use alcove_contract::reference::{Key, Property, Reference};
use alcove_contract::{Problem, Problems};
use alcove_resources::policy::StoreSelector;
use alcove_resources::store::{
    ClientTls, KubernetesProvider, KubernetesServer, Provider, SecretKeySelector, VaultAppRoleAuth, VaultAuth,
    VaultCertAuth, VaultJwtAuth, VaultKubernetesAuth, VaultProvider, VaultUserPassAuth,
};
use std::collections::{BTreeMap, BTreeSet};

/// Allocators hand out multiples of this, and keep about as much beside it.
const GRAIN: usize = 16;
/// How many entries a node of a [`BTreeMap`] has room for.
const NODE: usize = 11;
/// How many entries each node has at least, where there are several.
const SPARSEST_NODE: usize = 5;
/// What a node takes besides its entries: with a share of the nodes above it, which hold twelve addresses each.
const BESIDE_ENTRIES: usize = 64;

/// Something that is kept.
pub trait Footprint {
    /// How many bytes it takes besides its own place: all that it has allocated.
    fn heap(&self) -> usize;
}

/// About what an allocation of `bytes` takes.
pub(crate) const fn allocated(bytes: usize) -> usize {
    if bytes == 0 { 0 } else { bytes.saturating_add(bytes / 8).next_multiple_of(GRAIN) }
}

/// About what the nodes of a sorted map of `count` entries take, where each entry has `size` bytes.
const fn nodes(count: usize, size: usize) -> usize {
    let nodes = match count {
        0 => 0,
        1..=NODE => 1,
        _ => 1 + count / SPARSEST_NODE,
    };
    nodes.saturating_mul(allocated(NODE * size + BESIDE_ENTRIES))
}

/// The sum of what some parts take.
pub(crate) fn sum(parts: impl IntoIterator<Item = usize>) -> usize {
    parts.into_iter().fold(0, usize::saturating_add)
}

impl Footprint for String {
    fn heap(&self) -> usize {
        allocated(self.capacity())
    }
}

impl<T: Footprint> Footprint for Option<T> {
    fn heap(&self) -> usize {
        self.as_ref().map_or(0, T::heap)
    }
}

impl<T: Footprint> Footprint for Vec<T> {
    fn heap(&self) -> usize {
        sum(self.iter().map(T::heap)).saturating_add(allocated(self.capacity().saturating_mul(size_of::<T>())))
    }
}

impl<T: Footprint> Footprint for BTreeSet<T> {
    fn heap(&self) -> usize {
        sum(self.iter().map(T::heap)).saturating_add(nodes(self.len(), size_of::<T>()))
    }
}

impl<K: Footprint, V: Footprint> Footprint for BTreeMap<K, V> {
    fn heap(&self) -> usize {
        let parts = self.iter().map(|(key, value)| key.heap().saturating_add(value.heap()));
        sum(parts).saturating_add(nodes(self.len(), size_of::<K>() + size_of::<V>()))
    }
}

/// Texts of which only the length is known; each is made at once.
macro_rules! texts {
    ($($name:ty),*) => {
        $(impl Footprint for $name {
            fn heap(&self) -> usize {
                allocated(self.as_str().len())
            }
        })*
    };
}

texts![FileName, StoreName, Property, Quantity];

/// Types all of whose fields count, so that none is forgotten when one is added.
macro_rules! fields {
    ($($name:ident { $($field:ident),* $(; $($small:ident),*)? }),* $(,)?) => {
        $(impl Footprint for $name {
            fn heap(&self) -> usize {
                let Self { $($field,)* $($($small: _,)*)? } = self;
                sum([$($field.heap()),*])
            }
        })*
    };
}

fields! {
    Binding { secret_type, data, data_from, keys; refresh_interval, optional, immutable },
    Entry { reference; mode, encoding },
    Reference { store, key, property },
    Key { path, options },
    Problem { place, value, reason, remedy },
    StoreSelector { name; kind },
    ServiceAccount { annotations, secrets, image_pull_secrets, labels },
    LimitRange { limits },
    Limit { min, max, ratio, default; scope },
    Provider { vault, kubernetes },
    VaultProvider { server, namespace, ca_bundle, server_name, tls, auth; version },
    ClientTls { cert_secret_ref, key_secret_ref },
    VaultAuth { kubernetes, jwt, app_role, user_pass, cert, token_secret_ref },
    VaultKubernetesAuth { mount_path, role },
    VaultJwtAuth { path, role },
    VaultAppRoleAuth { path, role_id, secret_ref },
    VaultUserPassAuth { path, username, secret_ref },
    VaultCertAuth { path, name },
    KubernetesProvider { remote_namespace, server },
    KubernetesServer { url },
    SecretKeySelector { name, key },
}

impl Footprint for SecretType {
    fn heap(&self) -> usize {
        match self {
            Self::Custom(name) => name.heap(),
            Self::Opaque | Self::DockerCfg | Self::DockerConfigJson | Self::BasicAuth | Self::SshAuth | Self::Tls => 0,
        }
    }
}

impl Footprint for Problems {
    fn heap(&self) -> usize {
        // A list that grew has room for twice what it holds, and for four to begin with.
        let room = if self.is_empty() { 0 } else { self.iter().len().saturating_mul(2).max(4) };
        sum(self.iter().map(Problem::heap)).saturating_add(allocated(room.saturating_mul(size_of::<Problem>())))
    }
}
