//! Every bound of the protocol, each with its reason. No other file invents one.

/// Largest frame between a client and the daemon, in bytes.
///
/// Requests are small; the largest is [`OpenTemplate`](crate::client::Request::OpenTemplate)
/// with a full environment, which the kernel itself bounds at a few hundred KiB. Reports with ten
/// thousand rows are the largest replies.
pub const FRAME_BYTES_MAX: usize = 4 << 20;

/// Descriptors that one frame or packet carries at most: the kernel's `SCM_MAX_FD` (`unix(7)`).
pub const FRAME_FDS_MAX: usize = 253;

/// Bytes of a packet that travel inline; larger bodies go in a sealed memfd.
///
/// A `SOCK_SEQPACKET` message must fit the send buffer (`net.core.wmem_default`, 208 KiB).
pub const PACKET_INLINE_MAX: usize = 64 << 10;

/// Largest body of a job or an outcome, in bytes, arguments included.
///
/// Larger data belong in shared memory or a file whose descriptor is passed.
pub const PAYLOAD_BYTES_MAX: u64 = 2 << 30;

/// Descriptors that one job may carry, those of its standard streams included, or one outcome.
pub const JOB_FDS_MAX: usize = 4096;

/// Bytes of the part of a job that describes it: all but the arguments.
pub const JOB_HEADER_BYTES_MAX: usize = 16 << 20;

/// Spares that a template forks for one request of the daemon.
pub const SPARES_PER_ROUND_MAX: u16 = 32;

/// Descriptors that describe one spare: job socket, status pipe (both ends) and pidfd. Its standard
/// error is one more, where that is caught.
pub const FDS_PER_SPARE: usize = 4;

/// Descriptors of a lease: job socket, status pipe, pidfd.
pub const FDS_PER_LEASE: usize = 3;

/// Characters of a task, module or process name.
pub const NAME_BYTES_MAX: usize = 512;

/// Modules that one template loads.
pub const MODULES_MAX: usize = 256;

/// Requests of one session that wait for a worker.
pub const QUEUE_PER_SESSION_MAX: usize = 16_384;

/// Requests of all sessions that wait for a worker.
pub const QUEUE_TOTAL_MAX: usize = 65_536;

/// Paths in each list of a sandbox: every one of them is opened at the start of a worker.
pub const SANDBOX_PATHS_MAX: usize = 256;

/// Bytes of a path in a sandbox: the kernel's `PATH_MAX`.
pub const SANDBOX_PATH_BYTES_MAX: usize = 4095;

/// System calls that a sandbox denies by name; there are some four hundred.
pub const SANDBOX_CALLS_MAX: usize = 512;

/// Characters of the name of a system call.
pub const SANDBOX_CALL_BYTES_MAX: usize = 64;

/// Sandboxes of one worker: the kernel stacks 16 layers of Landlock.
pub const SANDBOX_LAYERS_MAX: usize = 16;

/// Bytes of answers that the daemon keeps for a client that does not read, before it hangs up.
pub const SESSION_OUTPUT_BYTES_MAX: usize = 8 << 20;

/// Rows of `ps` in one answer; who wants more asks for what follows. With the longest names, all of
/// them fit a frame.
pub const PROCESS_ROWS_MAX: u32 = 1024;

/// Workers that the daemon looks at for one such answer: a filter that admits nobody must not keep
/// it from others.
pub const PROCESS_ROWS_SEEN_MAX: usize = 8192;

/// Requests that an explanation of a client tells one by one.
pub const EXPLAINED_MAX: usize = 16;

/// Records of the log that the daemon remembers.
pub const LOG_RECORDS_MAX: usize = 1024;

/// Bytes of all records that the daemon remembers.
pub const LOG_BYTES_MAX: usize = 512 << 10;

/// Bytes of one such record; a longer message or field is cut.
pub const LOG_RECORD_BYTES_MAX: usize = 4 << 10;

/// Clients that wait for records at once.
pub const LOG_FOLLOWERS_MAX: usize = 32;

const _: () = assert!(SPARES_PER_ROUND_MAX as usize * (FDS_PER_SPARE + 1) <= FRAME_FDS_MAX);
const _: () = assert!(SESSION_OUTPUT_BYTES_MAX >= 2 * FRAME_BYTES_MAX);
const _: () = assert!(QUEUE_PER_SESSION_MAX <= QUEUE_TOTAL_MAX);
const _: () = assert!(PROCESS_ROWS_MAX as usize * (128 + 2 * NAME_BYTES_MAX) < FRAME_BYTES_MAX);
const _: () = assert!(2 * LOG_BYTES_MAX < FRAME_BYTES_MAX);
