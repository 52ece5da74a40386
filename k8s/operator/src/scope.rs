//! Where the operator works: in one namespace, or in all.

use kube::api::{Api, DynamicObject};
use kube::core::{ApiResource, NamespaceResourceScope};
use kube::{Client, Resource};

/// One namespace, or all.
#[derive(Debug, Clone)]
pub(crate) struct Scope(pub(crate) Option<String>);

impl Scope {
    /// The objects of a kind in it.
    pub(crate) fn api<K>(&self, client: &Client) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        match &self.0 {
            Some(namespace) => Api::namespaced(client.clone(), namespace),
            None => Api::all(client.clone()),
        }
    }

    /// The same of a kind that is known by its description only.
    pub(crate) fn dynamic(&self, client: &Client, resource: &ApiResource) -> Api<DynamicObject> {
        match &self.0 {
            Some(namespace) => Api::namespaced_with(client.clone(), namespace, resource),
            None => Api::all_with(client.clone(), resource),
        }
    }
}
