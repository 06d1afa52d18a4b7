//! One suite for both backends: whatever holds for RocksDB holds for its in-memory twin.
//!
//! `house.rs` opens and reopens a backend, `cases.rs` holds the cases, and the macro below runs each of them on both. What only
//! one of them can show (a second opener, a killed process, a torn log) is in `disk.rs`; threads and faults are in `threads.rs`.

mod cases;
mod disk;
mod house;
mod model;
mod threads;

macro_rules! on_both {
    ($($case:ident)*) => {
        mod rocks {
            $(#[test] fn $case() { crate::cases::$case(crate::house::OnDisk::new()); })*
        }
        mod memory {
            $(#[test] fn $case() { crate::cases::$case(crate::house::InMemory::new()); })*
        }
    };
}

on_both! {
    gets_what_was_put
    later_changes_of_a_key_win
    scans_forwards_and_backwards_up_to_the_limit
    ranges_include_their_start_and_exclude_their_end
    deletes_exactly_the_range
    empty_and_reversed_ranges_hold_nothing
    tables_are_apart
    keys_of_one_owner_never_show_another
    many_batches_in_one_commit_keep_their_order
    an_unknown_table_is_refused_and_nothing_is_written
    reopening_finds_everything
    a_crash_keeps_what_was_committed
    answers_from_memory_agree_with_answers_from_disk
    large_rows_come_back_whole
    one_plan_sees_one_moment
    agrees_with_the_model
}
