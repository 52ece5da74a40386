//! `AllocateProducerIds`: blocks of ids, each given out once.

use thalweg_metadata::{Counter, StoreError};
use thalweg_proto::ServiceError;
use thalweg_proto::v1::{AllocateProducerIdsRequest, AllocateProducerIdsResponse};
use thalweg_types::resource::ResourceKey;
use thalweg_types::{ErrorCode, SpuId};

use crate::state::Controller;

/// Ids in one block. An SPU that restarts wastes what is left of its block; there are 2^63.
const BLOCK: u16 = 1000;

/// Why no block was given out.
#[derive(Debug, thiserror::Error)]
pub(super) enum AllocateError {
    /// Nobody registered under that id.
    #[error("SPU {0} is not registered")]
    UnknownSpu(SpuId),
    /// Every id was given out.
    #[error("producer ids are used up")]
    UsedUp,
    /// The store could not be written; a block may be wasted.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ServiceError for AllocateError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::UnknownSpu(_) => ErrorCode::NotFound,
            Self::UsedUp => ErrorCode::Internal,
            // Asking again gets another block.
            Self::Store(_) => ErrorCode::Unavailable,
        }
    }
}

pub(super) async fn allocate(
    controller: &Controller,
    request: AllocateProducerIdsRequest,
) -> Result<AllocateProducerIdsResponse, AllocateError> {
    let AllocateProducerIdsRequest { spu_id } = request;
    let spu = SpuId(spu_id);
    if controller
        .store()
        .get(&ResourceKey::Spu(spu))
        .await?
        .is_none()
    {
        return Err(AllocateError::UnknownSpu(spu));
    }
    let first = controller
        .store()
        .take(Counter::ProducerId, u32::from(BLOCK))
        .await?;
    Ok(AllocateProducerIdsResponse {
        first: i64::try_from(first).map_err(|_| AllocateError::UsedUp)?,
        count: i32::from(BLOCK),
    })
}
