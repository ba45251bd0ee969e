"""What Corosync's libraries declare, as far as we call them.

Taken from the headers of Corosync 3.1 (corotypes.h, cpg.h, quorum.h, votequorum.h, cmap.h, cfg.h). The
versions of the libraries that carry this interface stand in ``library.py``. After a change here run
``python -m kvorum.corosync.native.generate``; a test compares.
"""

DECLARATIONS = """
typedef struct { void *iov_base; size_t iov_len; } kv_iovec;

typedef uint64_t cpg_handle_t;
struct cpg_address { uint32_t nodeid; uint32_t pid; uint32_t reason; };
struct cpg_name { uint32_t length; char value[128]; };
struct cpg_ring_id { uint32_t nodeid; uint64_t seq; };
typedef void (*cpg_deliver_fn_t)(cpg_handle_t, const struct cpg_name *, uint32_t, uint32_t, void *, size_t);
typedef void (*cpg_confchg_fn_t)(cpg_handle_t, const struct cpg_name *,
    const struct cpg_address *, size_t, const struct cpg_address *, size_t,
    const struct cpg_address *, size_t);
typedef void (*cpg_totem_confchg_fn_t)(cpg_handle_t, struct cpg_ring_id, uint32_t, const uint32_t *);
typedef struct {
    int model;
    cpg_deliver_fn_t cpg_deliver_fn;
    cpg_confchg_fn_t cpg_confchg_fn;
    cpg_totem_confchg_fn_t cpg_totem_confchg_fn;
    unsigned int flags;
} cpg_model_v1_data_t;
int cpg_model_initialize(cpg_handle_t *, int, void *, void *);
int cpg_finalize(cpg_handle_t);
int cpg_fd_get(cpg_handle_t, int *);
int cpg_max_atomic_msgsize_get(cpg_handle_t, uint32_t *);
int cpg_dispatch(cpg_handle_t, int);
int cpg_join(cpg_handle_t, const struct cpg_name *);
int cpg_leave(cpg_handle_t, const struct cpg_name *);
int cpg_mcast_joined(cpg_handle_t, int, const kv_iovec *, unsigned int);
int cpg_membership_get(cpg_handle_t, struct cpg_name *, struct cpg_address *, int *);
int cpg_local_get(cpg_handle_t, unsigned int *);
int cpg_flow_control_state_get(cpg_handle_t, int *);

typedef uint64_t quorum_handle_t;
struct quorum_ring_id { uint32_t nodeid; uint64_t seq; };
typedef void (*quorum_notify_fn_t)(quorum_handle_t, uint32_t, struct quorum_ring_id,
    uint32_t, const uint32_t *);
typedef void (*quorum_nodelist_fn_t)(quorum_handle_t, struct quorum_ring_id,
    uint32_t, const uint32_t *, uint32_t, const uint32_t *, uint32_t, const uint32_t *);
typedef struct {
    int model;
    quorum_notify_fn_t quorum_notify_fn;
    quorum_nodelist_fn_t nodelist_notify_fn;
} quorum_model_v1_data_t;
int quorum_model_initialize(quorum_handle_t *, int, void *, uint32_t *, void *);
int quorum_finalize(quorum_handle_t);
int quorum_fd_get(quorum_handle_t, int *);
int quorum_dispatch(quorum_handle_t, int);
int quorum_getquorate(quorum_handle_t, int *);
int quorum_trackstart(quorum_handle_t, unsigned int);
int quorum_trackstop(quorum_handle_t);

typedef uint64_t votequorum_handle_t;
struct votequorum_info {
    unsigned int node_id; unsigned int node_state; unsigned int node_votes; unsigned int node_expected_votes;
    unsigned int highest_expected; unsigned int total_votes; unsigned int quorum; unsigned int flags;
    unsigned int qdevice_votes; char qdevice_name[255];
};
typedef struct { uint32_t nodeid; uint32_t state; } votequorum_node_t;
typedef struct { uint32_t nodeid; uint64_t seq; } votequorum_ring_id_t;
typedef void (*votequorum_quorum_fn_t)(votequorum_handle_t, uint64_t, uint32_t,
    uint32_t, votequorum_node_t *);
typedef void (*votequorum_nodelist_fn_t)(votequorum_handle_t, uint64_t, votequorum_ring_id_t,
    uint32_t, uint32_t *);
typedef void (*votequorum_expected_fn_t)(votequorum_handle_t, uint64_t, uint32_t);
typedef struct {
    votequorum_quorum_fn_t quorum_fn;
    votequorum_expected_fn_t expected_fn;
    votequorum_nodelist_fn_t nodelist_fn;
} votequorum_callbacks_t;
int votequorum_initialize(votequorum_handle_t *, votequorum_callbacks_t *);
int votequorum_finalize(votequorum_handle_t);
int votequorum_dispatch(votequorum_handle_t, int);
int votequorum_fd_get(votequorum_handle_t, int *);
int votequorum_getinfo(votequorum_handle_t, unsigned int, struct votequorum_info *);
int votequorum_setexpected(votequorum_handle_t, unsigned int);
int votequorum_setvotes(votequorum_handle_t, unsigned int, unsigned int);
int votequorum_trackstart(votequorum_handle_t, uint64_t, unsigned int);
int votequorum_trackstop(votequorum_handle_t);

typedef uint64_t cmap_handle_t;
typedef uint64_t cmap_iter_handle_t;
typedef uint64_t cmap_track_handle_t;
struct cmap_notify_value { int type; size_t len; const void *data; };
typedef void (*cmap_notify_fn_t)(cmap_handle_t, cmap_track_handle_t, int32_t, const char *,
    struct cmap_notify_value, struct cmap_notify_value, void *);
int cmap_initialize_map(cmap_handle_t *, int);
int cmap_finalize(cmap_handle_t);
int cmap_fd_get(cmap_handle_t, int *);
int cmap_dispatch(cmap_handle_t, int);
int cmap_set(cmap_handle_t, const char *, const void *, size_t, int);
int cmap_delete(cmap_handle_t, const char *);
int cmap_get(cmap_handle_t, const char *, void *, size_t *, int *);
int cmap_iter_init(cmap_handle_t, const char *, cmap_iter_handle_t *);
int cmap_iter_next(cmap_handle_t, cmap_iter_handle_t, char *, size_t *, int *);
int cmap_iter_finalize(cmap_handle_t, cmap_iter_handle_t);
int cmap_track_add(cmap_handle_t, const char *, int32_t, cmap_notify_fn_t, void *, cmap_track_handle_t *);
int cmap_track_delete(cmap_handle_t, cmap_track_handle_t);

typedef uint64_t corosync_cfg_handle_t;
typedef struct { void (*shutdown_fn)(corosync_cfg_handle_t, int); } corosync_cfg_callbacks_t;
typedef struct { int address_length; char address[28]; } corosync_cfg_node_address_t;
int corosync_cfg_initialize(corosync_cfg_handle_t *, const corosync_cfg_callbacks_t *);
int corosync_cfg_fd_get(corosync_cfg_handle_t, int *);
int corosync_cfg_dispatch(corosync_cfg_handle_t, int);
int corosync_cfg_finalize(corosync_cfg_handle_t);
int corosync_cfg_kill_node(corosync_cfg_handle_t, unsigned int, const char *);
int corosync_cfg_get_node_addrs(corosync_cfg_handle_t, unsigned int, size_t, int *,
    corosync_cfg_node_address_t *);
int corosync_cfg_local_get(corosync_cfg_handle_t, unsigned int *);
int corosync_cfg_reload_config(corosync_cfg_handle_t);
"""
