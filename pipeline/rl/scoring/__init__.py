"""What models make of rollouts: the policy with gradients, the old policy, the reference and a teacher without."""
