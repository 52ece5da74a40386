//! One resource of any kind, and what names it.

use thalweg_types::SpuId;
use thalweg_types::resource::{Resource, ResourceKey, Transform};

use super::field::{InvalidField, parse, required};
use crate::v1;

impl TryFrom<v1::Resource> for Resource {
    type Error = InvalidField;

    fn try_from(message: v1::Resource) -> Result<Self, InvalidField> {
        use v1::resource::Resource as Any;
        let v1::Resource { resource } = message;
        match required("resource", resource)? {
            Any::Topic(topic) => topic
                .try_into()
                .map(Self::Topic)
                .map_err(|error| error.under("topic")),
            Any::Partition(partition) => partition
                .try_into()
                .map(Self::Partition)
                .map_err(|error| error.under("partition")),
            Any::Spu(spu) => spu
                .try_into()
                .map(Self::Spu)
                .map_err(|error| error.under("spu")),
            Any::SmartModule(module) => module
                .try_into()
                .map(Self::SmartModule)
                .map_err(|error| error.under("smart_module")),
            Any::Transform(transform) => transform
                .try_into()
                .map(|transform: Transform| Self::from(transform))
                .map_err(|error| error.under("transform")),
        }
    }
}

impl From<Resource> for v1::Resource {
    fn from(resource: Resource) -> Self {
        use v1::resource::Resource as Any;
        let resource = match resource {
            Resource::Topic(topic) => Any::Topic(topic.into()),
            Resource::Partition(partition) => Any::Partition(partition.into()),
            Resource::Spu(spu) => Any::Spu(spu.into()),
            Resource::SmartModule(module) => Any::SmartModule(module.into()),
            Resource::Transform(transform) => Any::Transform((*transform).into()),
        };
        Self {
            resource: Some(resource),
        }
    }
}

impl TryFrom<v1::ResourceKey> for ResourceKey {
    type Error = InvalidField;

    fn try_from(message: v1::ResourceKey) -> Result<Self, InvalidField> {
        use v1::resource_key::Key;
        let v1::ResourceKey { key } = message;
        match required("key", key)? {
            Key::Topic(name) => parse("topic", &name).map(Self::Topic),
            Key::Partition(name) => name
                .try_into()
                .map(Self::Partition)
                .map_err(|error| error.under("partition")),
            Key::Spu(id) => Ok(Self::Spu(SpuId(id))),
            Key::SmartModule(name) => parse("smart_module", &name).map(Self::SmartModule),
            Key::Transform(name) => parse("transform", &name).map(Self::Transform),
        }
    }
}

impl From<ResourceKey> for v1::ResourceKey {
    fn from(key: ResourceKey) -> Self {
        use v1::resource_key::Key;
        let key = match key {
            ResourceKey::Topic(name) => Key::Topic(name.to_string()),
            ResourceKey::Partition(name) => Key::Partition(name.into()),
            ResourceKey::Spu(id) => Key::Spu(id.0),
            ResourceKey::SmartModule(name) => Key::SmartModule(name.to_string()),
            ResourceKey::Transform(name) => Key::Transform(name.to_string()),
        };
        Self { key: Some(key) }
    }
}

#[cfg(test)]
mod tests {
    use thalweg_types::{PartitionIndex, TopicPartition};

    use super::*;

    #[test]
    fn keys_survive_the_way_there_and_back() {
        for key in [
            ResourceKey::Topic("flights".parse().unwrap()),
            ResourceKey::Partition(TopicPartition {
                topic: "flights".parse().unwrap(),
                partition: PartitionIndex(3),
            }),
            ResourceKey::Spu(SpuId(7)),
            ResourceKey::SmartModule("late".parse().unwrap()),
            ResourceKey::Transform("late-flights".parse().unwrap()),
        ] {
            let there = v1::ResourceKey::from(key.clone());

            assert_eq!(ResourceKey::try_from(there), Ok(key));
        }
    }

    #[test]
    fn a_resource_of_no_kind_is_refused() {
        let error = Resource::try_from(v1::Resource { resource: None }).unwrap_err();

        assert_eq!(error.to_string(), "resource: must be set");
    }
}
