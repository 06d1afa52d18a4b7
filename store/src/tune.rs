//! How RocksDB is set up: small when idle, bounded under load, quick at point reads and at ranges inside one owner.

use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, Cache, DBCompressionType, DBRecoveryMode, DataBlockIndexType, Error,
    LogLevel, Options,
};

/// The sizes an operator may want to change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuning {
    /// Memory for blocks of the tables, their indexes and their filters.
    pub cache_bytes: usize,
    /// Memory for rows not yet in tables, all families together.
    pub memtables_bytes_max: usize,
    /// When the write-ahead log grows beyond this, the oldest rows in it are written to tables. Bounds the time a start takes.
    pub wal_bytes_max: u64,
    /// Open table files; the other descriptors of the process belong to sockets.
    pub open_files_max: u16,
    /// Threads that flush and compact.
    pub background_threads: u16,
}

impl Default for Tuning {
    fn default() -> Tuning {
        Tuning {
            cache_bytes: 64 * 1024 * 1024,
            memtables_bytes_max: 64 * 1024 * 1024,
            wal_bytes_max: 128 * 1024 * 1024,
            open_files_max: 512,
            background_threads: 2,
        }
    }
}

impl Tuning {
    /// What concerns the database as a whole.
    pub(crate) fn database(&self) -> Options {
        let mut options = Options::default();
        options.create_if_missing(true);
        // A record cut short at the end of the log is what a crash leaves of a commit that was being written. It was not
        // acknowledged, since that waits for the sync, and everything acknowledged lies before it: replay up to the first
        // record that does not check, and open. The stricter modes refuse to start after an ordinary power cut, which can leave
        // the last pages of the log in any state.
        options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
        // A log that the manifest knows as complete and that is now missing or shorter is no torn tail: refuse.
        options.set_track_and_verify_wals_in_manifest(true);
        options.set_paranoid_checks(true);
        options.set_max_total_wal_size(self.wal_bytes_max);
        options.set_db_write_buffer_size(self.memtables_bytes_max);
        options.set_max_open_files(i32::from(self.open_files_max));
        options.set_max_background_jobs(i32::from(self.background_threads.max(1)));
        // One thread writes: what lets several write into one memtable only costs.
        options.set_allow_concurrent_memtable_write(false);
        options.set_bytes_per_sync(1024 * 1024);
        options.set_skip_stats_update_on_db_open(true);
        // The engine's own log is for the rare post-mortem: two files of at most one megabyte.
        options.set_log_level(LogLevel::Warn);
        options.set_keep_log_file_num(2);
        options.set_max_log_file_size(1024 * 1024);
        options.set_stats_dump_period_sec(0);
        options.set_stats_persist_period_sec(0);
        options
    }

    /// What concerns one family; all share one cache. With `mostly_absent`, most gets find nothing.
    pub(crate) fn family(&self, cache: &Cache, mostly_absent: bool) -> Result<Options, Error> {
        // Some that the binding has no call for.
        let mut named = INSERT_WITH_HINT.to_owned();
        if mostly_absent {
            named += MEMTABLE_FILTER;
        }
        let mut options = Options::default().get_options_from_string(named)?;
        // Small, since there are many families and most are quiet; the sum is bounded for the database as a whole.
        options.set_write_buffer_size(MEMTABLE_BYTES);
        options.set_max_write_buffer_number(3);
        options.set_arena_block_size(ARENA_BLOCK_BYTES);
        options.set_target_file_size_base(32 * 1024 * 1024);
        options.set_max_bytes_for_level_base(128 * 1024 * 1024);
        options.set_level_compaction_dynamic_level_bytes(true);
        options.set_compression_type(DBCompressionType::Lz4);
        options.set_bottommost_compression_type(DBCompressionType::Zstd);
        options.set_block_based_table_factory(&Self::blocks(cache));
        // Queues (offline stanzas, jobs) are written and deleted: compact files full of tombstones, or scans wade through them.
        options.add_compact_on_deletion_collector_factory(4096, 1024, 0.5);
        Ok(options)
    }

    fn blocks(cache: &Cache) -> BlockBasedOptions {
        let mut blocks = BlockBasedOptions::default();
        blocks.set_block_cache(cache);
        blocks.set_format_version(6);
        // Keys of one owner share a long prefix, which the block stores once every 16 keys; 8 KiB holds a page of history.
        blocks.set_block_size(8 * 1024);
        blocks.set_block_restart_interval(16);
        blocks.set_data_block_index_type(DataBlockIndexType::BinaryAndHash);
        blocks.set_data_block_hash_ratio(0.75);
        // A get of what is not there (a first message, a dedupe check) reads no block.
        blocks.set_bloom_filter(10.0, false);
        blocks.set_optimize_filters_for_memory(true);
        // Indexes and filters live in the cache in parts, so that big tables cost bounded memory.
        blocks.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
        blocks.set_partition_filters(true);
        blocks.set_metadata_block_size(4 * 1024);
        blocks.set_cache_index_and_filter_blocks(true);
        blocks.set_pin_l0_filter_and_index_blocks_in_cache(true);
        blocks.set_pin_top_level_index_and_filter(true);
        blocks
    }
}

const MEMTABLE_BYTES: usize = 16 * 1024 * 1024;

/// New rows of an owner mostly come right behind his last, and where that was is looked at first: half the work of an insertion
/// in a full memtable. The prefix is the longest that an owner's keys have, partition, app and dialog.
const INSERT_WITH_HINT: &str = "memtable_insert_with_hint_prefix_extractor=rocksdb.CappedPrefix.18;";

/// A memtable answers "not there" from a filter, as tables do. It takes its memory at once, one part in 50 of a full memtable:
/// 13 bits for each of the smallest rows.
const MEMTABLE_FILTER: &str = "memtable_whole_key_filtering=true;memtable_prefix_bloom_size_ratio=0.02;";

/// What a family takes for its first rows.
const ARENA_BLOCK_BYTES: usize = 64 * 1024;
