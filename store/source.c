/* SPDX-License-Identifier: MIT */
#include "store/source.h"

#include "base/err.h"
#include "store/inside.h"
#include "store/load.h"

#include <errno.h>
#include <string.h>

int source_init(struct source *source, struct store *store) {
    source->store = store;
    source->page = vm_map(PAGE_BYTES);
    return source->page ? 0 : err_raise(-ENOMEM);
}

void source_fini(struct source *source) {
    if (source->window.buffer) {
        scan_window_close(&source->window);
    }
    footer_close(&source->footer);
    vm_unmap(source->page, PAGE_BYTES);
    source->page = NULL;
}

/* The footer names its records; one that is damaged is made anew from its batches. */
static int records_list(struct source *source) {
    struct store *store = source->store;
    struct segment *segment = source->segment;
    int r = trailer_read(&store->segments, segment, source->page);
    if (r != 0) {
        return r;
    }
    memcpy(&source->trailer, source->page, sizeof source->trailer);
    r = footer_read(&store->segments, segment, &source->trailer, &source->footer);
    if (r == 0 || r == -ENOMEM) {
        source->count = source->footer.count;
        return r;
    }
    r = scan_open(&source->scan,
                  &(struct scan_source){&store->config.disk, segment, &source->window,
                                        source->trailer.data_bytes});
    if (r != 0) {
        return r;
    }
    source->scanned = true;
    source->scan.hash_seed = store->hash_seed;
    scan_run(&source->scan);
    source->count = (uint32_t)source->scan.entry_count;
    /* A count says little where the batches also show what came to nothing. */
    source->short_of = !scan_whole(&source->scan) || source->count < source->trailer.footer_count;
    return 0;
}

int source_open(struct source *source, struct segment *segment) {
    source->segment = segment;
    source->count = 0;
    source->short_of = false;
    int r = source->window.buffer ? 0 : scan_window_open(&source->window);
    return r == 0 ? records_list(source) : r;
}

void source_close(struct source *source) {
    if (source->scanned) {
        scan_close(&source->scan);
    }
    source->scanned = false;
    source->segment = NULL;
}
