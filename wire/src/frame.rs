//! Frames: an `i32` length, then that many bytes.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

/// The largest frame that is read unless told otherwise, in bytes.
pub const FRAME_BYTES_MAX: usize = 32 << 20;

/// How much is read at once while no larger frame is expected, in bytes. A frame up to this size
/// costs no memory beside the reader's own buffer.
pub const SMALL_FRAME_BYTES: usize = 8 << 10;

/// Why no frame could be read. The connection is of no use afterwards.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The peer announced a frame that is too large, or of a negative size.
    #[error("frame of {announced_bytes} bytes is not within the limit of {limit_bytes}")]
    Size {
        /// What the peer announced.
        announced_bytes: i32,
        /// What is allowed.
        limit_bytes: usize,
    },
    /// The peer speaks TLS, which is not spoken here.
    #[error("the other side speaks TLS, and it was spoken to without")]
    Tls,
    /// The peer hung up in the middle of a frame.
    #[error("connection ended within a frame")]
    Truncated,
    /// The connection failed.
    #[error("failed to read from the connection")]
    Io(#[from] std::io::Error),
}

/// Reads frames from a connection. What has arrived stays in the reader, so every method is
/// cancel-safe.
///
/// A frame larger than a read gets a buffer of its own of exactly its size, and is read right
/// into it: its bytes are copied once, by the kernel. Whoever reads many of them can
/// [offer](Self::offer_buffer) buffers that served before.
#[derive(Debug)]
pub struct FrameReader<R> {
    source: R,
    frame_bytes_max: usize,
    /// What has been read beyond the last frame.
    buffered: BytesMut,
    /// The length of the frame that comes next, once known.
    length: Option<usize>,
    /// The beginning of a frame that is larger than a read.
    large: BytesMut,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// A reader that refuses frames of more than `frame_bytes_max` bytes.
    pub fn new(source: R, frame_bytes_max: usize) -> Self {
        Self {
            source,
            frame_bytes_max,
            buffered: BytesMut::new(),
            length: None,
            large: BytesMut::new(),
        }
    }

    /// The next frame without its length, or `None` when the peer has hung up between frames.
    ///
    /// # Errors
    /// See [`FrameError`].
    pub async fn next(&mut self) -> Result<Option<Bytes>, FrameError> {
        match self.next_length().await? {
            Some(_) => self.next_body().await.map(Some),
            None => Ok(None),
        }
    }

    /// The size of the next frame in bytes, so that a caller may wait for room before it reads
    /// the rest; `None` when the peer has hung up between frames.
    ///
    /// # Errors
    /// See [`FrameError`].
    pub async fn next_length(&mut self) -> Result<Option<usize>, FrameError> {
        while self.length.is_none() {
            if self.buffered.len() >= 4 {
                let announced_bytes = self.buffered.get_i32();
                if is_tls(announced_bytes) {
                    return Err(FrameError::Tls);
                }
                self.length = match usize::try_from(announced_bytes) {
                    Ok(length) if length <= self.frame_bytes_max => Some(length),
                    _ => {
                        return Err(FrameError::Size {
                            announced_bytes,
                            limit_bytes: self.frame_bytes_max,
                        });
                    }
                };
            } else if self.read_some().await? == 0 {
                return if self.buffered.is_empty() {
                    Ok(None)
                } else {
                    Err(FrameError::Truncated)
                };
            }
        }
        Ok(self.length)
    }

    /// Gives a buffer for the next frame, used if the frame is large and the buffer is large
    /// enough. What is in it is dropped.
    pub fn offer_buffer(&mut self, mut buffer: BytesMut) {
        if self.large.is_empty() {
            buffer.clear();
            self.large = buffer;
        }
    }

    /// The frame whose size [`next_length`](Self::next_length) has told.
    ///
    /// # Errors
    /// See [`FrameError`].
    pub async fn next_body(&mut self) -> Result<Bytes, FrameError> {
        let Some(length) = self.next_length().await? else {
            return Err(FrameError::Truncated);
        };
        let frame = if length <= SMALL_FRAME_BYTES {
            while self.buffered.len() < length {
                if self.read_some().await? == 0 {
                    return Err(FrameError::Truncated);
                }
            }
            self.buffered.split_to(length)
        } else {
            self.read_large(length).await?
        };
        self.length = None;
        Ok(frame.freeze())
    }

    async fn read_large(&mut self, length: usize) -> Result<BytesMut, FrameError> {
        if self.large.is_empty() {
            if self.large.capacity() < length {
                self.large = BytesMut::with_capacity(length);
            }
            let arrived = self.buffered.len().min(length);
            self.large.put(self.buffered.split_to(arrived));
        }
        while self.large.len() < length {
            let missing = length - self.large.len();
            let mut room = (&mut self.large).limit(missing);
            if self.source.read_buf(&mut room).await? == 0 {
                return Err(FrameError::Truncated);
            }
        }
        Ok(std::mem::take(&mut self.large))
    }

    async fn read_some(&mut self) -> Result<usize, FrameError> {
        // A fresh buffer when all is consumed, so that small frames don't pin a used-up one.
        self.buffered.reserve(SMALL_FRAME_BYTES);
        Ok(self.source.read_buf(&mut self.buffered).await?)
    }
}

/// Whether these are the first bytes of a TLS record (RFC 8446, section 5.1) of a kind that begins a connection or ends
/// it: an alert or a handshake. As the size of a frame they would be 350 MB.
fn is_tls(announced_bytes: i32) -> bool {
    let [kind, major, minor, _] = announced_bytes.to_be_bytes();
    matches!(kind, 0x15 | 0x16) && major == 3 && minor <= 4
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::io::AsyncWriteExt;

    use super::*;

    fn framed(frames: &[Vec<u8>]) -> Vec<u8> {
        let mut out = Vec::new();
        for frame in frames {
            out.put_i32(i32::try_from(frame.len()).unwrap());
            out.put_slice(frame);
        }
        out
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn frames_of_any_size_arrive_in_order_however_they_are_cut(
            sizes in prop::collection::vec(prop_oneof![0_usize..64, 8000..9000_usize, 20_000..40_000_usize], 1..12),
            cut in 1_usize..5000,
        ) {
            let frames: Vec<_> = sizes.iter().enumerate()
                .map(|(index, size)| vec![u8::try_from(index).unwrap(); *size])
                .collect();
            let bytes = framed(&frames);
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();

            let arrived = runtime.block_on(async {
                let (mut near, far) = tokio::io::duplex(cut);
                let sent = async {
                    near.write_all(&bytes).await.unwrap();
                    drop(near);
                };
                let read = async {
                    let mut reader = FrameReader::new(far, 1 << 20);
                    let mut arrived = Vec::new();
                    while let Some(frame) = reader.next().await.unwrap() {
                        arrived.push(frame.to_vec());
                    }
                    arrived
                };
                tokio::join!(sent, read).1
            });

            prop_assert_eq!(arrived, frames);
        }
    }

    #[tokio::test]
    async fn who_speaks_tls_is_known_by_the_first_bytes() {
        for record in [[0x16, 3, 1, 2], [0x15, 3, 3, 0]] {
            let mut frames = FrameReader::new(&record[..], usize::MAX);
            assert!(matches!(frames.next().await, Err(FrameError::Tls)));
        }
    }

    #[tokio::test]
    async fn a_large_frame_is_read_into_an_offered_buffer_that_holds_it() {
        let bytes = framed(&[vec![1; 20_000], vec![2; 30_000]]);
        let mut reader = FrameReader::new(&bytes[..], 1 << 20);
        let mut buffer = BytesMut::with_capacity(20_000);
        buffer.put_slice(b"old");
        let place = buffer.as_ptr();

        reader.offer_buffer(buffer);
        let first = reader.next().await.unwrap().unwrap();
        assert_eq!((&first[..], first.as_ptr()), (&[1; 20_000][..], place));

        let first = first.try_into_mut().expect("nobody else holds it");
        reader.offer_buffer(first);
        let second = reader.next().await.unwrap().unwrap();
        assert_eq!(
            &second[..],
            [2; 30_000],
            "read into one that is large enough"
        );
    }

    #[tokio::test]
    async fn a_frame_over_the_limit_is_refused_before_it_is_read() {
        let mut reader = FrameReader::new(&[0x7f, 0xff, 0xff, 0xff][..], 1024);
        assert!(matches!(
            reader.next().await,
            Err(FrameError::Size {
                announced_bytes: i32::MAX,
                ..
            })
        ));
    }

    #[tokio::test]
    async fn a_negative_length_is_refused() {
        let mut reader = FrameReader::new(&[0xff, 0xff, 0xff, 0xff][..], 1024);
        assert!(matches!(
            reader.next().await,
            Err(FrameError::Size {
                announced_bytes: -1,
                ..
            })
        ));
    }

    #[tokio::test]
    async fn hanging_up_within_a_frame_is_an_error_and_between_frames_is_not() {
        let mut reader = FrameReader::new(&[0, 0, 0, 5, 1][..], 1024);
        assert!(matches!(reader.next().await, Err(FrameError::Truncated)));

        let mut reader = FrameReader::new(&[0, 0, 0, 1, 7][..], 1024);
        assert_eq!(reader.next().await.unwrap().as_deref(), Some(&[7][..]));
        assert!(reader.next().await.unwrap().is_none());
    }
}
