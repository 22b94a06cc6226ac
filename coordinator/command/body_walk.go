package command

// Kind implements Body.
func (*PutRegion) Kind() Kind { return KindPutRegion }

// Walk implements Record.
func (b *PutRegion) Walk(c *Coder) { c.Nest(1, &b.Region) }

// Kind implements Body.
func (*PutOrg) Kind() Kind { return KindPutOrg }

// Walk implements Record.
func (b *PutOrg) Walk(c *Coder) { c.Nest(1, &b.Org) }

// Kind implements Body.
func (*PutTenant) Kind() Kind { return KindPutTenant }

// Walk implements Record.
func (b *PutTenant) Walk(c *Coder) { c.Nest(1, &b.Tenant) }

// Kind implements Body.
func (*PutKey) Kind() Kind { return KindPutKey }

// Walk implements Record.
func (b *PutKey) Walk(c *Coder) { c.Nest(1, &b.Key) }

// Kind implements Body.
func (*PutProvider) Kind() Kind { return KindPutProvider }

// Walk implements Record.
func (b *PutProvider) Walk(c *Coder) { c.Nest(1, &b.Provider) }

// Kind implements Body.
func (*PutModel) Kind() Kind { return KindPutModel }

// Walk implements Record.
func (b *PutModel) Walk(c *Coder) { c.Nest(1, &b.Model) }

// Kind implements Body.
func (*PutLimit) Kind() Kind { return KindPutLimit }

// Walk implements Record.
func (b *PutLimit) Walk(c *Coder) { c.Nest(1, &b.Limit) }

// Kind implements Body.
func (*PutPolicy) Kind() Kind { return KindPutPolicy }

// Walk implements Record.
func (b *PutPolicy) Walk(c *Coder) { c.Nest(1, &b.Policy) }

// Kind implements Body.
func (*Init) Kind() Kind { return KindInit }

// Walk implements Record.
func (b *Init) Walk(c *Coder) {
	c.Str(1, &b.Mesh)
	c.Str(2, &b.Cluster)
	c.Bytes(3, &b.CACert)
	c.Bytes(4, &b.SealedCAKey)
	c.Bytes(5, &b.SealedPepper)
}

// Kind implements Body.
func (*Delete) Kind() Kind { return KindDelete }

// Walk implements Record.
func (b *Delete) Walk(c *Coder) {
	c.Octet(1, (*uint8)(&b.Sort))
	c.Str(2, &b.ID)
}

// Kind implements Body.
func (*Apply) Kind() Kind { return KindApply }

// Walk implements Record.
func (b *Apply) Walk(c *Coder) {
	c.Nest(1, &b.Document)
	c.Bool(2, &b.Prune)
}

// Kind implements Body.
func (*RotateKey) Kind() Kind { return KindRotateKey }

// Walk implements Record.
func (b *RotateKey) Walk(c *Coder) {
	c.Str(1, &b.ID)
	c.Bytes(2, &b.Hash)
	c.Str(3, &b.Fingerprint)
	c.Int(4, &b.KeepUntil)
}

// Kind implements Body.
func (*RevokeKey) Kind() Kind { return KindRevokeKey }

// Walk implements Record.
func (b *RevokeKey) Walk(c *Coder) {
	c.Str(1, &b.ID)
}

// Kind implements Body.
func (*CreateToken) Kind() Kind { return KindCreateToken }

// Walk implements Record.
func (b *CreateToken) Walk(c *Coder) {
	c.Nest(1, &b.Token)
}

// Kind implements Body.
func (*JoinNode) Kind() Kind { return KindJoinNode }

// Walk implements Record.
func (b *JoinNode) Walk(c *Coder) {
	c.Str(1, &b.TokenID)
	c.Bytes(2, &b.SecretHash)
	c.Nest(3, &b.Node)
}

// Kind implements Body.
func (*RegisterNode) Kind() Kind { return KindRegisterNode }

// Walk implements Record.
func (b *RegisterNode) Walk(c *Coder) {
	c.Nest(1, &b.Node)
}

// Kind implements Body.
func (*RenewNode) Kind() Kind { return KindRenewNode }

// Walk implements Record.
func (b *RenewNode) Walk(c *Coder) {
	c.Str(1, &b.ID)
	c.Str(2, &b.Serial)
	c.Int(3, &b.NotAfter)
	c.Str(4, &b.Addr)
	c.Str(5, &b.BuildInfo)
}

// Kind implements Body.
func (*SetNodeState) Kind() Kind { return KindSetNodeState }

// Walk implements Record.
func (b *SetNodeState) Walk(c *Coder) {
	c.Str(1, &b.ID)
	c.Str(2, &b.State)
}

// Kind implements Body.
func (*RevokeNode) Kind() Kind { return KindRevokeNode }

// Walk implements Record.
func (b *RevokeNode) Walk(c *Coder) {
	c.Str(1, &b.ID)
}
