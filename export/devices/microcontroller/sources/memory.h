/* What policy.c takes: POLICY_SCRATCH_BYTES between the layers, POLICY_RAM_BYTES with its input and output; and of flash, beside
   its code, up to POLICY_CONSTANT_BYTES on chips of up to 32 bits. The frames of its calls are on the stack, too. */
#define POLICY_SCRATCH_BYTES $scratch
#define POLICY_RAM_BYTES $ram
#define POLICY_CONSTANT_BYTES $constant_bytes
