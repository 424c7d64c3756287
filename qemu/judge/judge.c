/* Asks systemd-boot about many disks in one power-on.
 *
 * The firmware starts this program instead of a loader. For each case in the case file, a disk
 * without partitions, it writes the case's disk image onto the target disk, sets the case's EFI
 * variables, and starts the loader from the target's first partition, as the firmware would. The
 * loader does what it always does, until it starts the image that it chose: that call comes here
 * instead, is noted, and the loader is left. What was started, the loader's variables and the target disk are
 * written back into the case.
 *
 * The layout of the case file is described in ../src/case_file.rs. Of the UEFI specification's tables
 * only what is used has a type here. */

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef u64 status;
typedef void *handle;

#define EFI __attribute__((ms_abi))
#define ERROR(s) ((status)(s) >> 63)
#define BLOCK 512

typedef struct { u32 a; u16 b, c; u8 d[8]; } guid;

typedef struct node { u8 type, subtype, length[2]; } node;

typedef struct {
    u64 revision;
    struct { u32 id; u8 removable, present, is_partition, read_only, caching; u32 size, align; u64 last; } *media;
    void *reset;
    status EFI (*read)(void *self, u32 media, u64 block, u64 bytes, void *buffer);
    status EFI (*write)(void *self, u32 media, u64 block, u64 bytes, const void *buffer);
    status EFI (*flush)(void *self);
} block_io;

typedef struct {
    u32 revision;
    handle parent;
    void *system_table;
    handle device;
    node *path;
    void *reserved;
    u32 options_size;
    void *options;
} loaded_image;

typedef struct {
    u8 header[24];
    void *tpl[2], *memory[3];
    status EFI (*allocate)(u32 type, u64 bytes, void **buffer);
    status EFI (*release)(void *buffer);
    void *events[6], *install[3];
    status EFI (*handle_protocol)(handle, const guid *, void **);
    void *reserved, *register_notify, *locate_handle, *locate_device_path, *install_table;
    status EFI (*load_image)(u8 boot, handle parent, node *path, void *source, u64 size, handle *image);
    status EFI (*start_image)(handle, u64 *, u16 **);
    status EFI (*exit)(handle, status, u64, u16 *);
    status EFI (*unload_image)(handle);
    void *exit_boot_services, *monotonic;
    status EFI (*stall)(u64 microseconds);
    status EFI (*set_watchdog)(u64 seconds, u64 code, u64 size, u16 *data);
    status EFI (*connect)(handle, handle *drivers, node *path, u8 recursive);
    status EFI (*disconnect)(handle, handle driver, handle child);
    void *open_protocol, *close_protocol, *protocol_information, *protocols_per_handle;
    status EFI (*locate_handles)(u32 by, const guid *, void *key, u64 *count, handle **found);
} boot_services;

typedef struct {
    u8 header[24];
    void *time[4], *virtual_memory[2];
    status EFI (*get_variable)(const u16 *, const guid *, u32 *, u64 *, void *);
    status EFI (*next_variable)(u64 *, u16 *, guid *);
    status EFI (*set_variable)(const u16 *, const guid *, u32, u64, const void *);
    void *monotonic;
    void EFI (*reset)(u32 type, status, u64, void *);
} runtime_services;

typedef struct {
    u8 header[24];
    u16 *vendor;
    u32 revision;
    handle in;
    void *in_protocol;
    handle out;
    struct { void *reset; status EFI (*print)(void *self, const u16 *text); } *out_protocol;
    handle error;
    void *error_protocol;
    runtime_services *runtime;
    boot_services *boot;
} system_table;

static const guid BLOCK_IO = {0x964e5b21, 0x6459, 0x11d2, {0x8e, 0x39, 0x00, 0xa0, 0xc9, 0x69, 0x72, 0x3b}};
static const guid DEVICE_PATH = {0x09576e91, 0x6d3f, 0x11d2, {0x8e, 0x39, 0x00, 0xa0, 0xc9, 0x69, 0x72, 0x3b}};
static const guid FILE_SYSTEM = {0x964e5b22, 0x6459, 0x11d2, {0x8e, 0x39, 0x00, 0xa0, 0xc9, 0x69, 0x72, 0x3b}};
static const guid LOADED_IMAGE = {0x5b1b31a1, 0x9562, 0x11d2, {0x8e, 0x3f, 0x00, 0xa0, 0xc9, 0x69, 0x72, 0x3b}};
static const guid LOADER = {0x4a67b082, 0x0a4c, 0x41cf, {0xb6, 0xc7, 0x44, 0x0b, 0x29, 0xbb, 0x8c, 0x4f}};

/* As in case_file.rs. */
typedef struct {
    u8 magic[16];
    u32 cases, first, blocks, header_blocks, result_blocks, target_blocks, loader, loader_bytes;
} case_file;

enum { STARTED = 1, RETURNED = 2, RESET = 3, NOT_LOADED = 4, NO_VOLUME = 5 };

typedef struct {
    u32 outcome, partition;
    u64 status;
    u16 path[512];
    u32 options_size;
    u8 options[2044];
    u8 variables[];
} result;

static system_table *firmware;
static boot_services *boot;
static runtime_services *runtime;
static status EFI (*real_start_image)(handle, u64 *, u16 **);
static void EFI (*real_reset)(u32, status, u64, void *);
static handle loader_image;
static result *noted;
static u64 result_bytes;

/* The compiler may ask for these. */
void *memcpy(void *to, const void *from, u64 count) {
    for (u64 i = 0; i < count; i++)
        ((volatile u8 *)to)[i] = ((const u8 *)from)[i];
    return to;
}

void *memset(void *to, int value, u64 count) {
    for (u64 i = 0; i < count; i++)
        ((volatile u8 *)to)[i] = (u8)value;
    return to;
}

static int same(const void *a, const void *b, u64 count) {
    for (u64 i = 0; i < count; i++)
        if (((const u8 *)a)[i] != ((const u8 *)b)[i])
            return 0;
    return 1;
}

static void say(const u16 *text) { firmware->out_protocol->print(firmware->out_protocol, text); }

static void fail(const u16 *text) {
    say(u"judge: ");
    say(text);
    say(u"\r\n");
    real_reset(2, 0, 0, 0);
    for (;;)
        ;
}

static void *take(u64 bytes) {
    void *buffer = 0;
    if (ERROR(boot->allocate(2, bytes, &buffer)))
        fail(u"no memory");
    memset(buffer, 0, bytes);
    return buffer;
}

static void *protocol(handle of, const guid *which) {
    void *found = 0;
    return ERROR(boot->handle_protocol(of, which, &found)) ? 0 : found;
}

static u16 length(const node *n) { return (u16)(n->length[0] | n->length[1] << 8); }
static int is_end(const node *n) { return n->type == 0x7f; }
static node *next(node *n) { return (node *)((u8 *)n + length(n)); }

static u64 path_bytes(node *path) {
    node *n = path;
    while (!is_end(n))
        n = next(n);
    return (u64)((u8 *)n - (u8 *)path);
}

/* The number of the partition that a device path names; 0 for a whole disk. */
static u32 partition_of(node *path) {
    u32 number = 0;
    for (node *n = path; n && !is_end(n); n = next(n))
        if (n->type == 4 && n->subtype == 1)
            memcpy(&number, n + 1, 4);
    return number;
}

static void read(block_io *disk, u64 block, u64 blocks, void *buffer) {
    if (ERROR(disk->read(disk, disk->media->id, block, blocks * BLOCK, buffer)))
        fail(u"cannot read");
}

static void write(block_io *disk, u64 block, u64 blocks, const void *buffer) {
    if (ERROR(disk->write(disk, disk->media->id, block, blocks * BLOCK, buffer)))
        fail(u"cannot write");
}

static block_io *block_io_of(handle disk) {
    block_io *it = protocol(disk, &BLOCK_IO);
    if (!it)
        fail(u"the target disk is gone");
    return it;
}

/* Notes what an image was loaded from and with what. */
static void note_image(handle image) {
    loaded_image *it = protocol(image, &LOADED_IMAGE);
    if (!it)
        return;
    noted->partition = partition_of(protocol(it->device, &DEVICE_PATH));
    u64 at = 0;
    for (node *n = it->path; n && !is_end(n); n = next(n)) {
        if (n->type != 4 || n->subtype != 4)
            continue;
        u64 units = (length(n) - sizeof(node)) / 2;
        const u16 *text = (const u16 *)(n + 1);
        for (u64 i = 0; i < units && text[i] && at < 511; i++)
            noted->path[at++] = text[i];
    }
    u32 size = it->options ? it->options_size : 0;
    noted->options_size = size < sizeof noted->options ? size : sizeof noted->options;
    memcpy(noted->options, it->options, noted->options_size);
}

/* The loader starts what it chose: that is all that is wanted of it. */
static status EFI start_image(handle image, u64 *size, u16 **data) {
    if (!loader_image || image == loader_image)
        return real_start_image(image, size, data);
    noted->outcome = STARTED;
    note_image(image);
    boot->unload_image(image);
    boot->exit(loader_image, 0, 0, 0);
    return 1ULL << 63 | 21; /* EFI_ABORTED, should Exit come back */
}

static void EFI reset(u32 type, status why, u64 size, void *data) {
    if (!loader_image)
        real_reset(type, why, size, data);
    noted->outcome = RESET;
    noted->status = type;
    boot->exit(loader_image, 0, 0, 0);
}

/* Nobody reads the loader's messages. */
static status EFI stall(u64 microseconds) {
    (void)microseconds;
    return 0;
}

/* Removes what an earlier case left of the loader's variables. */
static void clear_variables(void) {
    static u16 name[512];
    for (;;) {
        guid vendor;
        u64 size = sizeof name;
        int found = 0;
        memset(name, 0, sizeof name);
        while (!ERROR(runtime->next_variable(&size, name, &vendor))) {
            if (same(&vendor, &LOADER, sizeof vendor)) {
                found = !ERROR(runtime->set_variable(name, &LOADER, 0, 0, 0));
                break;
            }
            size = sizeof name;
        }
        if (!found)
            return;
    }
}

/* Size of the name in bytes, size of the data, name, data; a name of no size ends the list. */
static void set_variables(const u8 *list) {
    for (;;) {
        u32 name, data;
        memcpy(&name, list, 4);
        memcpy(&data, list + 4, 4);
        if (!name)
            return;
        if (ERROR(runtime->set_variable((const u16 *)(list + 8), &LOADER, 7, data, list + 8 + name)))
            fail(u"cannot set a variable");
        list += 8 + ((name + data + 3) & ~3U);
    }
}

static void note_variables(void) {
    static u16 name[512];
    guid vendor;
    u8 *at = noted->variables, *end = (u8 *)noted + result_bytes - 8;
    u64 size = sizeof name;
    memset(name, 0, sizeof name);
    while (!ERROR(runtime->next_variable(&size, name, &vendor))) {
        if (same(&vendor, &LOADER, sizeof vendor) && at + 8 + size < end) {
            u64 room = (u64)(end - at) - 8 - size;
            if (!ERROR(runtime->get_variable(name, &LOADER, 0, &room, at + 8 + size))) {
                u32 bytes[2] = {(u32)size, (u32)room};
                memcpy(at, bytes, 8);
                memcpy(at + 8, name, size);
                at += 8 + ((size + room + 3) & ~3ULL);
            }
        }
        size = sizeof name;
    }
    memset(at, 0, 8);
}

/* Starts the loader from the target's first partition. */
static void ask(handle self, node *target, void *loader, u64 loader_bytes) {
    static const u16 FILE[] = u"\\EFI\\systemd\\systemd-bootx64.efi";
    handle *volumes = 0;
    u64 count = 0, prefix = path_bytes(target);
    boot->locate_handles(2, &FILE_SYSTEM, 0, &count, &volumes);
    node *esp = 0;
    for (u64 i = 0; i < count; i++) {
        node *path = protocol(volumes[i], &DEVICE_PATH);
        if (path && path_bytes(path) > prefix && same(path, target, prefix) && partition_of(path) == 1)
            esp = path;
    }
    if (volumes)
        boot->release(volumes);
    if (!esp) {
        noted->outcome = NO_VOLUME;
        return;
    }
    u64 bytes = path_bytes(esp);
    u8 *path = take(bytes + sizeof(node) * 2 + sizeof FILE);
    node file = {4, 4, {sizeof(node) + sizeof FILE, 0}}, end = {0x7f, 0xff, {sizeof(node), 0}};
    memcpy(path, esp, bytes);
    memcpy(path + bytes, &file, sizeof file);
    memcpy(path + bytes + sizeof file, FILE, sizeof FILE);
    memcpy(path + bytes + sizeof file + sizeof FILE, &end, sizeof end);
    handle image = 0;
    noted->status = boot->load_image(0, self, (node *)path, loader, loader_bytes, &image);
    boot->release(path);
    if (ERROR(noted->status)) {
        noted->outcome = NOT_LOADED;
        return;
    }
    loader_image = image;
    noted->outcome = RETURNED;
    noted->status = real_start_image(image, 0, 0);
    loader_image = 0;
}

status EFI judge(handle self, system_table *table) {
    firmware = table;
    boot = table->boot;
    runtime = table->runtime;
    real_start_image = boot->start_image;
    real_reset = runtime->reset;
    boot->set_watchdog(0, 0, 0, 0);

    handle *disks = 0;
    u64 count = 0;
    static u8 block[BLOCK];
    case_file *cases = (case_file *)block;
    block_io *library = 0;
    boot->locate_handles(2, &BLOCK_IO, 0, &count, &disks);
    for (u64 i = 0; i < count && !library; i++) {
        block_io *disk = protocol(disks[i], &BLOCK_IO);
        if (!disk || disk->media->is_partition || !disk->media->present || disk->media->size != BLOCK)
            continue;
        if (!ERROR(disk->read(disk, disk->media->id, 0, BLOCK, block)) && same(cases->magic, "ABIDE-CASE-FILE", 16))
            library = disk;
    }
    if (!library)
        fail(u"no case file");
    handle target = 0;
    for (u64 i = 0; i < count; i++) {
        block_io *disk = protocol(disks[i], &BLOCK_IO);
        if (disk && !disk->media->is_partition && disk->media->present && disk->media->size == BLOCK &&
            disk->media->last + 1 == cases->target_blocks)
            target = disks[i];
    }
    if (!target)
        fail(u"no target disk");
    node *target_path = protocol(target, &DEVICE_PATH);

    u64 loader_blocks = (cases->loader_bytes + BLOCK - 1) / BLOCK;
    void *loader = take(loader_blocks * BLOCK);
    read(library, cases->loader, loader_blocks, loader);
    u8 *header = take((u64)cases->header_blocks * BLOCK);
    u8 *image = take((u64)cases->target_blocks * BLOCK);
    result_bytes = (u64)cases->result_blocks * BLOCK;
    noted = take(result_bytes);

    boot->start_image = start_image;
    boot->stall = stall;
    runtime->reset = reset;
    for (u32 i = 0; i < cases->cases; i++) {
        u64 at = cases->first + (u64)i * cases->blocks;
        u64 at_result = at + cases->header_blocks, at_image = at_result + cases->result_blocks;
        memset(noted, 0, result_bytes);
        read(library, at, cases->header_blocks, header);
        read(library, at_image, cases->target_blocks, image);
        /* What the file system's driver still holds of the case before is let go first. The disk's
         * own driver goes and comes with the others. */
        boot->disconnect(target, 0, 0);
        boot->connect(target, 0, 0, 0);
        write(block_io_of(target), 0, cases->target_blocks, image);
        boot->disconnect(target, 0, 0);
        boot->connect(target, 0, 0, 1);
        clear_variables();
        set_variables(header);
        ask(self, target_path, loader, cases->loader_bytes);
        note_variables();
        read(block_io_of(target), 0, cases->target_blocks, image);
        write(library, at_image, cases->target_blocks, image);
        write(library, at_result, cases->result_blocks, noted);
    }
    library->flush(library);
    say(u"judge: done\r\n");
    real_reset(2, 0, 0, 0);
    return 0;
}
