//! What a client sends to open a stream, and the tags of its fetches and produces.

use std::collections::BTreeMap;

use bytes::Bytes;
use thalweg_wire::{
    OpenStreamRequest, decode_request, decode_request_header, encode_request, tags,
};

/// Reads `bytes` as the body of an OpenStream request, in each version.
///
/// # Panics
/// When what was read does not read back as it was.
pub fn open_stream(bytes: &[u8]) {
    for version in [0, 1] {
        let Ok(request) =
            decode_request::<OpenStreamRequest>(version, Bytes::copy_from_slice(bytes))
        else {
            continue;
        };
        assert!(request.version_needed() <= version, "{request:?}");
        let Ok(frame) = encode_request(&request, version, 1, "fuzz") else {
            continue;
        };
        let (_, message) = decode_request_header(&frame.slice(4..)).expect("it was just encoded");
        let again = decode_request::<OpenStreamRequest>(version, message);
        assert_eq!(again.expect("it was just encoded"), request);
    }
}

/// Reads `bytes` as the value of every tag that a fetch or a produce may have.
///
/// # Panics
/// When one of the readers does.
pub fn stream_tags(bytes: &[u8]) {
    let value = Bytes::copy_from_slice(bytes);
    // Our tags have large numbers; which exactly, each setter says.
    let mut fields = BTreeMap::new();
    tags::set_stream_id(&mut fields, thalweg_wire::StreamId(1));
    tags::set_resume_offset(&mut fields, thalweg_types::Offset(1));
    tags::set_stop_offset(&mut fields, thalweg_types::Offset(1));
    tags::set_accumulator(&mut fields, Bytes::new());
    tags::set_keyed_accumulators(&mut fields, &BTreeMap::default());
    tags::set_failed_records(&mut fields, &[]);
    let numbers: Vec<_> = fields.keys().copied().chain(10_000..10_020).collect();
    let fields: BTreeMap<_, _> = numbers
        .into_iter()
        .map(|number| (number, value.clone()))
        .collect();
    let _ = tags::stream_id(&fields);
    let _ = tags::resume_offset(&fields);
    let _ = tags::stop_offset(&fields);
    let _ = tags::accumulator(&fields);
    let _ = tags::failed_records(&fields);
    if let Some(failure) = tags::StreamFailure::decode(&value) {
        let again = tags::StreamFailure::decode(&failure.encode());
        assert!(again.is_some());
    }
    let _ = tags::stream_failure(&fields);
    if let Ok(Some(accumulators)) = tags::keyed_accumulators(&fields) {
        let mut again = BTreeMap::new();
        tags::set_keyed_accumulators(&mut again, &accumulators);
        assert_eq!(tags::keyed_accumulators(&again), Ok(Some(accumulators)));
    }
}
