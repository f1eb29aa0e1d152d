/* SPDX-License-Identifier: MIT */
/* The handshake against a published vector (vectors.txt of flynn/noise: XX, empty prologue and
 * payloads). Its payloads are no proofs of libp2p, so each read is refused at the very end, behind
 * everything the vector speaks about; the messages after it show that the state went on rightly. */
#include "proto/libp2p/noise_hand.h"

#include "tests/proto/hex.h"

#include <criterion/criterion.h>

#define FIRST "358072d6365880d1aeea329adf9121383851ed21a28e3b75e965d0d2cd166254"
#define SECOND                                                                                     \
    "64b101b1d0be5a8704bd078f9895001fc03e8e9f9522f188dd128d9846d484663414af878d3e46a2f58911a816d6" \
    "e8346d4ea17a6f2a0bb4ef4ed56c133cff4560a34e36ea82109f26cf2e5a5caf992b608d55c747f615e5a3425a7a" \
    "19eefb8f"
#define THIRD                                                                                      \
    "87f864c11ba449f46a0a4f4e2eacbb7b0457784f4fca1937f572c93603e9c4d97e5ea11b16f3968710b23a3be320" \
    "2dc1b5e1ce3c963347491e74f5c0768a9b42"
#define FOURTH "a52ef02ba60e12696d1d6b9ef4245c88fca757b6134ad6e76b56e310a6adf6"
#define FIFTH  "2445aa438ebd649281c636cc7269ca82f1d9023d72520943aeabf909cdf521"

static const struct peer_id anybody;

static void self_of(struct noise_self *self, uint8_t first) {
    uint8_t secret[32];
    for (uint8_t i = 0; i < 32; i++) {
        secret[i] = (uint8_t)(first + i);
    }
    cr_assert_eq(crypto_open(), 0);
    *self = (struct noise_self){0};
    self->key = crypto_x25519_key(secret, self->public);
    cr_assert(self->key);
}

static struct noise_hand *hand_of(const struct noise_self *self, bool dialer, uint8_t first) {
    uint8_t ephemeral[32];
    for (uint8_t i = 0; i < 32; i++) {
        ephemeral[i] = (uint8_t)(first + i);
    }
    return noise_hand_open(self, dialer, ephemeral);
}

static void writes(struct noise_hand *hand, const char *text) {
    uint8_t want[256], out[SECURE_HANDSHAKE_OUT_MAX];
    size_t count = hex_read(text, want), made = 0;
    cr_assert(noise_hand_write(hand, out, &made));
    cr_assert_eq(made, count);
    cr_assert_arr_eq(out, want, count);
}

static int reads(struct noise_hand *hand, const char *text) {
    uint8_t in[256];
    return noise_hand_read(hand, in, hex_read(text, in), &anybody);
}

static void carries(struct crypto_aead *seal, struct crypto_aead *open, const char *plain,
                    const char *text) {
    uint8_t want[64], out[64], again[64];
    size_t count = strlen(plain);
    hex_read(text, want);
    cr_assert(crypto_aead_begin(seal));
    cr_assert(crypto_aead_turn(seal, out, (const uint8_t *)plain, count));
    cr_assert(crypto_aead_seal_end(seal, out + count));
    cr_assert_arr_eq(out, want, count + 16);
    cr_assert(crypto_aead_begin(open));
    cr_assert(crypto_aead_turn(open, again, want, count));
    cr_assert(crypto_aead_open_end(open, want + count));
    cr_assert_arr_eq(again, plain, count);
}

Test(noise_hand, every_byte_is_that_of_the_published_vector) {
    struct noise_self dialer_self, listener_self;
    self_of(&dialer_self, 0x00);
    self_of(&listener_self, 0x01);
    struct noise_hand *dialer = hand_of(&dialer_self, true, 0x20);
    struct noise_hand *listener = hand_of(&listener_self, false, 0x41);
    cr_assert(noise_hand_speaks_first(dialer));
    cr_assert_not(noise_hand_speaks_first(listener));
    writes(dialer, FIRST);
    cr_assert_eq(reads(listener, FIRST), 0);
    writes(listener, SECOND);
    cr_assert_eq(reads(dialer, SECOND), SECURE_BAD, "an empty proof");
    writes(dialer, THIRD);
    cr_assert_eq(reads(listener, THIRD), SECURE_BAD, "an empty proof");
    cr_assert(noise_hand_done(dialer) && noise_hand_done(listener));

    struct crypto_aead aeads[4] = {0};
    for (uint32_t i = 0; i < 4; i++) {
        cr_assert(crypto_aead_init(&aeads[i]));
    }
    cr_assert(noise_hand_split(dialer, &aeads[0], &aeads[1]));
    cr_assert(noise_hand_split(listener, &aeads[2], &aeads[3]));
    carries(&aeads[0], &aeads[3], "yellowsubmarine", FOURTH);
    carries(&aeads[2], &aeads[1], "submarineyellow", FIFTH);
    for (uint32_t i = 0; i < 4; i++) {
        crypto_aead_fini(&aeads[i]);
    }
    noise_hand_close(dialer);
    noise_hand_close(listener);
    noise_self_fini(&dialer_self);
    noise_self_fini(&listener_self);
}

/* The vector whose messages carry payloads: the first one's is mixed in though nobody reads it. */
Test(noise_hand, a_payload_in_the_clear_is_part_of_what_was_said) {
    struct noise_self self;
    self_of(&self, 0x01);
    memcpy(self.payload, "test_msg_1", 10);
    self.payload_bytes = 10;
    struct noise_hand *listener = hand_of(&self, false, 0x41);
    cr_assert_eq(reads(listener, FIRST "746573745f6d73675f30"), 0);
    writes(listener, "64b101b1d0be5a8704bd078f9895001fc03e8e9f9522f188dd128d9846d484663414af878d3e4"
                     "6a2f58911a816d6e8346d4ea17a6f2a0bb4ef4ed56c133cff4572e7a2ba5123ac30618b3d205f"
                     "5c2d17f50cbca216483ac56bcc78e33bf520303278db641e5e731b2e3a");
    noise_hand_close(listener);
    noise_self_fini(&self);
}

Test(noise_hand, a_message_cut_short_is_bad) {
    struct noise_self self;
    self_of(&self, 0x01);
    uint8_t in[256];
    size_t count = hex_read(FIRST, in);
    for (size_t cut = 0; cut < count; cut++) {
        struct noise_hand *listener = hand_of(&self, false, 0x41);
        cr_assert_eq(noise_hand_read(listener, in, cut, &anybody), SECURE_BAD);
        noise_hand_close(listener);
    }
    count = hex_read(SECOND, in);
    for (size_t cut = 0; cut < count; cut++) {
        struct noise_hand *dialer = hand_of(&self, true, 0x20);
        writes(dialer, FIRST);
        cr_assert_eq(noise_hand_read(dialer, in, cut, &anybody), SECURE_BAD);
        noise_hand_close(dialer);
    }
    noise_self_fini(&self);
}

Test(noise_hand, an_ephemeral_key_of_low_order_is_bad) {
    struct noise_self self;
    self_of(&self, 0x01);
    const uint8_t zero[96] = {0};
    struct noise_hand *listener = hand_of(&self, false, 0x41);
    uint8_t out[SECURE_HANDSHAKE_OUT_MAX];
    size_t made = 0;
    cr_assert_eq(noise_hand_read(listener, zero, 32, &anybody), 0);
    cr_assert_not(noise_hand_write(listener, out, &made));
    noise_hand_close(listener);
    noise_self_fini(&self);
}
