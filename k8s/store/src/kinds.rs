//! The five kinds of rows, as the API server knows them.

use kube::Resource as _;
use kube::core::ApiResource;
use thalweg_k8s_crd::{
    Partition, SmartModule, Spu, Topic, Transform, partition_object_name, row_object_name,
    spu_object_name,
};
use thalweg_types::resource::{ResourceKey, ResourceKind};

/// All of them.
pub(crate) const KINDS: [ResourceKind; 5] = [
    ResourceKind::Topic,
    ResourceKind::Partition,
    ResourceKind::Spu,
    ResourceKind::SmartModule,
    ResourceKind::Transform,
];

/// Where a kind's objects are.
pub(crate) fn api_resource(kind: ResourceKind) -> ApiResource {
    match kind {
        ResourceKind::Topic => ApiResource::erase::<Topic>(&()),
        ResourceKind::Partition => ApiResource::erase::<Partition>(&()),
        ResourceKind::Spu => ApiResource::erase::<Spu>(&()),
        ResourceKind::SmartModule => ApiResource::erase::<SmartModule>(&()),
        ResourceKind::Transform => ApiResource::erase::<Transform>(&()),
    }
}

/// The kind's name in messages, as users write it.
pub(crate) fn kind_name(kind: ResourceKind) -> std::borrow::Cow<'static, str> {
    match kind {
        ResourceKind::Topic => Topic::kind(&()),
        ResourceKind::Partition => Partition::kind(&()),
        ResourceKind::Spu => Spu::kind(&()),
        ResourceKind::SmartModule => SmartModule::kind(&()),
        ResourceKind::Transform => Transform::kind(&()),
    }
}

/// The name of a row's object.
pub(crate) fn object_name(key: &ResourceKey) -> String {
    match key {
        ResourceKey::Topic(name) => row_object_name(name.as_str()),
        ResourceKey::Partition(partition) => partition_object_name(partition),
        ResourceKey::Spu(id) => spu_object_name(*id),
        ResourceKey::SmartModule(name) => row_object_name(name.as_str()),
        // Its names are those that Kubernetes allows, and it has no partitions whose names are longer.
        ResourceKey::Transform(name) => name.to_string(),
    }
}
