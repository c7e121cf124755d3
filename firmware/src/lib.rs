//! What firmware leaves in memory: tables, memory map, boot protocol, register values.
